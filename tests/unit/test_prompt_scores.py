"""Log-probabilities of prompts: the same as torch's and one chunk's, whatever the steps, the cache and the company."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from fixtures.fake_engine import check_pool, make_engine, make_request, prompt_scores, run_all, tokens_of
from fixtures.guided_reference import TINY_VOCAB_SIZE, Reference
from fixtures.guides import HashGuide
from fixtures.token_probes import PROMPT, engine
from inglenook.config import SpeculativeSettings
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.plan import MIB
from inglenook.engine.request import EngineOutput, EngineRequest, ScoredToken
from inglenook.errors import EngineError
from inglenook.ops.sampling import ThreadPool
from inglenook.ops.scoring import score
from inglenook.types import SamplingParams

OFF = SpeculativeSettings("none")
PLAIN = SamplingParams(max_tokens=6, temperature=0.0)


def request(name: str, number: int = 0, num_top: int | None = 3, **options: Any) -> EngineRequest:
    sampling = replace(PLAIN, prompt_logprobs=num_top)
    return EngineRequest(name, (*PROMPT, number), sampling, **options)


def outputs_of(running: AsyncEngine, *requests: EngineRequest) -> dict[str, list[EngineOutput]]:
    outputs: dict[str, list[EngineOutput]] = {r.request_id: [] for r in requests}
    for output in running.generate_blocking(requests):
        assert output.error is None
        outputs[output.request_id].append(output)
    return outputs


def scores(running: AsyncEngine, *requests: EngineRequest) -> list[tuple[ScoredToken, ...] | None]:
    return [outputs[0].prompt_scores for outputs in outputs_of(running, *requests).values()]


@pytest.fixture(scope="module")
def plain() -> Iterator[AsyncEngine]:
    with engine(OFF, enable_prefix_caching=False) as plain:
        yield plain


@pytest.fixture(scope="module")
def expected(plain: AsyncEngine) -> tuple[ScoredToken, ...]:
    """From the logits behind each part of the prompt, one computed after the other."""
    prompt = [*PROMPT, 0]
    logits = np.concatenate([Reference(plain).logits(prompt[:i]) for i in range(1, len(prompt))], dtype=np.float32)
    entries = []
    for row, token_id in zip(logits, prompt[1:], strict=True):
        shares = row.astype(np.float64) - row.max()
        shares -= np.log(np.exp(shares).sum())
        order = np.lexsort((np.arange(len(row)), -row))[:3].tolist()
        top = tuple((i, float(shares[i])) for i in order)
        entries.append(ScoredToken(token_id, float(shares[token_id]), int((row >= row[token_id]).sum()), top))
    return tuple(entries)


def check_close(got: tuple[ScoredToken, ...] | None, expected: tuple[ScoredToken, ...]) -> None:
    assert got is not None
    assert [(s.token_id, s.rank, [i for i, _ in s.top]) for s in got] == [
        (s.token_id, s.rank, [i for i, _ in s.top]) for s in expected
    ]
    np.testing.assert_allclose([s.logprob for s in got], [s.logprob for s in expected], atol=1e-5)
    np.testing.assert_allclose(
        [[p for _, p in s.top] for s in got], [[p for _, p in s.top] for s in expected], atol=1e-5
    )


def test_every_token_but_the_first(plain: AsyncEngine, expected: tuple[ScoredToken, ...]) -> None:
    outputs = outputs_of(plain, request("r"))["r"]
    check_close(outputs[0].prompt_scores, expected)
    assert all(output.prompt_scores is None for output in outputs[1:])
    (unasked,) = outputs_of(plain, request("r", num_top=None)).values()
    assert [output.tokens for output in unasked] == [output.tokens for output in outputs]
    assert unasked[0].prompt_scores is None


@pytest.mark.parametrize(
    "settings",
    [
        {"max_num_batched_tokens": 9},
        {"max_num_seqs": 1},
        {"max_num_seqs": 3, "max_num_batched_tokens": 5},
        {"kv_cache_memory_bytes": MIB // 32},
        {"threads": 1},
        {"speculation": SpeculativeSettings("ngram")},
    ],
    ids=str,
)
def test_steps_and_cache_change_nothing(plain: AsyncEngine, settings: dict[str, Any]) -> None:
    requests = [request(str(i), i % 3, i) for i in range(5)]
    alone = [scores(plain, one)[0] for one in requests]
    unasked = [replace(r, request_id=f"{r.request_id} unasked", sampling=PLAIN) for r in requests]
    with engine(settings.get("speculation", OFF), **{k: v for k, v in settings.items() if k != "speculation"}) as other:
        for _ in range(2):  # the second time with the prompts in the cache
            together = scores(other, *requests, *unasked)
            assert together == [*alone, *[None] * 5]


def test_nothing_but_the_prompt(plain: AsyncEngine) -> None:
    (full,) = scores(plain, request("r"))
    nothing = replace(request("r"), sampling=replace(PLAIN, prompt_logprobs=3, max_tokens=0))
    (output,) = outputs_of(plain, nothing)["r"]
    assert (output.prompt_scores, output.tokens, output.finish_reason) == (full, (), "length")
    # Its end of text isn't one.
    ending = replace(nothing, eos_token_ids=frozenset(range(TINY_VOCAB_SIZE)))
    (output,) = outputs_of(plain, ending)["r"]
    assert (output.prompt_scores, output.tokens, output.finish_reason) == (full, (), "length")
    single = replace(nothing, prompt_token_ids=(5,))
    (output,) = outputs_of(plain, single)["r"]
    assert (output.prompt_scores, output.finish_reason) == ((), "length")


def test_what_a_guide_forces_behind_the_prompt_is_no_part_of_it(plain: AsyncEngine) -> None:
    base = replace(request("r"), prompt_token_ids=(*PROMPT, 0, 9))  # no multiple of a step's rows, and one
    (full,) = scores(plain, base)
    kinds = set()
    for seed in range(16):
        forces, ends = (0.95, 0.3) if seed % 2 else (0.7, 0.05)
        start = partial(HashGuide, TINY_VOCAB_SIZE, seed, forces=forces, ends=ends)
        sampling = replace(PLAIN, max_tokens=20)
        asked = replace(base, start_guide=start, sampling=replace(sampling, prompt_logprobs=3))
        got = outputs_of(plain, asked)["r"]
        assert got[0].prompt_scores == full
        unasked = outputs_of(plain, replace(asked, sampling=sampling))["r"]
        assert (tokens_of(got), got[-1].finish_reason) == (tokens_of(unasked), unasked[-1].finish_reason)
        kinds.add((len(got[0].tokens) > 1, len(got) == 1, got[-1].finish_reason))
    assert len(kinds) > 3, "forced behind the prompt or not, to the end or not"


@pytest.mark.parametrize("sizes", [{"num_blocks": 16}, {"max_num_seqs": 2}, {"max_num_selected": 8}], ids=str)
def test_blocks_and_rows_are_enough(sizes: dict[str, int]) -> None:
    """Preempted while they are scored, among others, with no more rows than a step has."""
    engine, _ = make_engine(block_size=4, context_length=40, **sizes)
    requests = [make_request(str(i), [i, *range(20)], 18, prompt_logprobs=0) for i in range(8)]
    requests += [make_request(f"plain {i}", [i, *range(20)], 8) for i in range(8)]
    for one in requests:
        engine.add(one)
    outputs = run_all(engine)
    for one in requests:
        assert outputs[one.request_id][0].prompt_scores == prompt_scores(one)
    assert (engine.stats().num_preemptions > 0) == ("num_blocks" in sizes)
    check_pool(engine.scheduler)


def test_a_prompt_that_fills_the_context() -> None:
    engine, _ = make_engine(context_length=20)
    engine.add(make_request("r", list(range(20)), 5, prompt_logprobs=0))
    (only,) = run_all(engine)["r"]
    assert (only.tokens, only.finish_reason) == ((), "length")
    assert only.prompt_scores == prompt_scores(make_request("r", list(range(20)), 5, prompt_logprobs=0))


def test_the_blocks_that_it_computes_serve_others() -> None:
    engine, runner = make_engine(block_size=4, context_length=60)
    prompt = list(range(30))
    engine.add(make_request("scored", prompt, 3, prompt_logprobs=0))
    run_all(engine)
    engine.add(make_request("next", prompt, 3))
    assert run_all(engine)["next"][0].num_cached_tokens == 28
    runner.steps.clear()
    engine.add(make_request("scored", prompt, 3, prompt_logprobs=0))
    outputs = run_all(engine)["scored"]
    assert outputs[0].num_cached_tokens == 0, "its own logits are nowhere to be found"
    assert len(tokens_of(outputs)) == 3


def test_nobody_waits_for_blocks_that_are_of_no_use_to_him() -> None:
    engine, runner = make_engine(block_size=4, context_length=60)
    for name in "ab":
        engine.add(make_request(name, list(range(12)), 3, prompt_logprobs=0))
    engine.step()
    assert {name for name, _, _ in runner.steps[0]} == {"a", "b"}


# --- the rows ---------------------------------------------------------------------------------------


def test_scores_of_rows() -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((40, 5000)).astype(np.float32) * 3
    logits[3, 17] = logits[3, 18] = logits[3].max() + 1
    rows, token_ids, num_top = [3, 0, 39, 3], [18, 5, 4999, 17], [2, 0, 20, 1]
    results = score(logits, rows, token_ids, num_top)
    assert results == score(logits, rows, token_ids, num_top, ThreadPool(3))
    for row, token_id, k, result in zip(rows, token_ids, num_top, results, strict=True):
        assert result is not None
        logprob, rank, top = result
        shares = logits[row].astype(np.float64) - np.log(np.exp(logits[row].astype(np.float64)).sum())
        assert logprob == pytest.approx(shares[token_id], abs=1e-5)
        assert rank == (logits[row] >= logits[row, token_id]).sum()
        assert [i for i, _ in top] == np.lexsort((np.arange(5000), -logits[row]))[:k].tolist()
    assert results[0] is not None and results[3] is not None
    assert results[0][1] == results[3][1] == 2  # of equals, each is as likely as the other


def test_unsound_rows_have_none() -> None:
    logits = np.zeros((2, 40), np.float32)
    logits[1, 7] = np.nan
    good, bad = score(logits, [0, 1], [3, 3], [1, 1])
    assert good is not None and bad is None
    for rows, token_ids in (([2], [0]), ([0], [40]), ([0], [-1]), ([0, 1], [0])):
        with pytest.raises(ValueError, match=r"row|token"):
            score(logits, rows, token_ids, [0] * len(rows))


def test_an_unsound_prompt_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(OFF) as running:
        executor = running._engine._runner.executor  # type: ignore[attr-defined]
        compute = executor.run

        def broken(step: Any) -> Any:
            logits = compute(step).copy()
            if len(step.selected_rows) > 2:
                logits[2] = np.nan
            return logits

        monkeypatch.setattr(executor, "run", broken)
        outputs = list(running.generate_blocking([request("bad"), request("good", num_top=None)]))
    assert [type(o.error) for o in outputs if o.request_id == "bad"] == [EngineError]
    assert [o.finish_reason for o in outputs if o.request_id == "good"][-1] == "length"
