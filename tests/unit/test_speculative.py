"""Speculation on an engine without a model: whatever is drafted, tokens, blocks and usage are those of a plain run."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from fixtures.drafters import Oracle, eager
from fixtures.fake_engine import (
    VOCAB_SIZE,
    FakeRunner,
    check_pool,
    continuation,
    make_engine,
    make_request,
    run_all,
    tokens_of,
)
from fixtures.guides import HashGuide
from inglenook.engine.engine import Engine
from inglenook.engine.request import SampledToken
from inglenook.engine.speculative.ngram import NgramDrafter

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]


def make(drafter: Any = None, *, max_rows: int = 8, max_draft_tokens: int = 5, **options: Any) -> Any:
    drafter = Oracle() if drafter is None else drafter
    speculator = eager(drafter, max_rows=max_rows, max_draft_tokens=max_draft_tokens)
    return *make_engine(speculator=speculator, **options), drafter


def test_right_drafts_take_fewer_steps() -> None:
    engine, runner, _ = make()
    request = make_request("r", PROMPT, 25)
    engine.add(request)
    outputs = run_all(engine)["r"]
    assert tokens_of(outputs) == continuation(request, 64)[0]
    assert [len(o.tokens) for o in outputs] == [1, 6, 6, 6, 6]
    assert [n for ((_, _, n),) in runner.steps] == [8, 6, 6, 6, 6]
    stats = engine.stats()
    assert (stats.num_drafts, stats.num_draft_tokens, stats.num_accepted_tokens) == (4, 20, 20)
    assert stats.num_generation_tokens == 25


def test_wrong_drafts_change_nothing() -> None:
    engine, _, oracle = make(Oracle(accuracy=0.0))
    request = make_request("r", PROMPT, 9)
    engine.add(request)
    assert tokens_of(run_all(engine)["r"]) == continuation(request, 64)[0]
    assert engine.stats().num_accepted_tokens == 0
    assert len(oracle.learned) == 7 and all(accepted == 0 for _, accepted in oracle.learned)
    assert oracle.forgotten == ["r"]


@pytest.mark.parametrize("seed", range(10))
def test_drafts_and_what_guides_force_fit_into_a_step_together(seed: int) -> None:
    """Some of it is computed as drafts are, where log-probabilities are wanted."""
    engine, runner, _ = make(Oracle(0.5), max_rows=4, max_num_batched_tokens=4)
    for length, logprobs in [(1, 0), (2, None)]:
        guided = {"start_guide": lambda: HashGuide(VOCAB_SIZE, seed), "logprobs": logprobs}
        engine.add(make_request(str(length), [0] * length, None, **guided))
    run_all(engine)
    assert max(sum(n for _, _, n in step) for step in runner.steps) <= 4


def test_a_draft_never_passes_the_end() -> None:
    engine, runner, _ = make()
    engine.add(make_request("r", PROMPT, 4))
    run_all(engine)
    assert [n for ((_, _, n),) in runner.steps] == [8, 3]


@pytest.mark.parametrize("place", range(1, 9))
def test_tokens_behind_a_stop_token_are_dropped(place: int) -> None:
    plain = continuation(make_request("r", PROMPT, 20), 64)[0]
    stop = plain[place]
    request = make_request("r", PROMPT, 20, eos_token_ids=frozenset({stop}))
    engine, _, _ = make()
    engine.add(request)
    outputs = run_all(engine)["r"]
    assert (tokens_of(outputs), outputs[-1].finish_reason) == continuation(request, 64)
    assert outputs[-1].stop_token_id == stop
    assert engine.stats().num_generation_tokens == len(tokens_of(outputs))
    check_pool(engine.scheduler)


def test_a_failed_row_ends_its_request_only() -> None:
    engine, runner, _ = make()
    requests = [make_request(name, [ord(name) % 50] * 6, 12) for name in "ab"]
    for request in requests:
        engine.add(request)
    engine.step()
    runner.broken = {"a"}
    outputs = run_all(engine)
    assert outputs["a"][-1].error is not None and outputs["a"][-1].tokens == ()
    assert tokens_of(outputs["b"]) == continuation(requests[1], 64)[0][1:]
    check_pool(engine.scheduler)


def test_drafts_wait_while_a_prompt_is_computed() -> None:
    engine, runner, _ = make(max_num_batched_tokens=8)
    engine.add(make_request("stream", PROMPT, 30))
    engine.step()
    engine.add(make_request("long", PROMPT[:1] * 20, 2))
    for _ in range(3):
        engine.step()
    assert [("stream", n) for _, _, n in [step[0] for step in runner.steps[1:]]] == [("stream", 1)] * 3


def test_drafts_take_no_block_that_preempts() -> None:
    engine, _, _ = make(num_blocks=6, block_size=4, context_length=24)
    requests = [make_request(name, [ord(name) % 50] * 4, 8) for name in "ab"]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert engine.stats().num_preemptions == 0
    for request in requests:
        assert tokens_of(outputs[request.request_id]) == continuation(request, 24)[0]


def test_blocks_of_rejected_drafts_are_given_back() -> None:
    engine, _, _ = make(Oracle(accuracy=0.0), block_size=2, max_draft_tokens=7)
    engine.add(make_request("r", PROMPT, 30))
    for num_tokens in range(9, 20):
        engine.step()
        (sequence,) = engine.scheduler.running
        assert len(sequence.token_ids) == num_tokens
        assert len(sequence.block_ids) <= -(-num_tokens // 2)
        check_pool(engine.scheduler)


def test_a_request_may_refuse_drafts() -> None:
    engine, runner, _ = make()
    engine.add(replace(make_request("r", PROMPT, 10), is_drafted=False))
    run_all(engine)
    assert len(runner.steps) == 10


def test_rejected_tokens_are_not_found_in_the_cache() -> None:
    engine, _, oracle = make(Oracle(accuracy=0.3), block_size=2)
    first = make_request("first", PROMPT, 30)
    engine.add(first)
    run_all(engine)
    assert 0 < engine.stats().num_accepted_tokens < engine.stats().num_draft_tokens
    oracle.chance = 0.0  # the second is plain: it reads what the first has left
    expected = continuation(first, 64)[0]
    second = make_request("second", [*PROMPT, *expected], 5)
    engine.add(second)
    outputs = run_all(engine)["second"]
    assert tokens_of(outputs) == continuation(second, 64)[0]
    assert outputs[0].num_cached_tokens >= 34


class Copier(FakeRunner):
    """A model that repeats its prompt again and again."""

    def run(self, step: Any) -> Any:
        super().run(step)
        results = []
        for chunk in step.chunks:
            if chunk.is_sampled:
                tokens = chunk.sequence.token_ids
                period = len(chunk.sequence.request.prompt_token_ids)
                right = [tokens[(len(tokens) + i) % period] for i in range(len(chunk.drafts) + 1)]
                count = next((i for i, draft in enumerate(chunk.drafts) if draft != right[i]), len(chunk.drafts))
                results.append(tuple(map(SampledToken, right[: count + 1])))
        return results


def copying_engine(**options: Any) -> tuple[Engine, Copier]:
    drafter = NgramDrafter(min_length=2, max_length=16, block_size=4)
    speculator = eager(drafter, max_rows=8, max_draft_tokens=7)
    engine, _ = make_engine(speculator=speculator, context_length=200, **options)
    runner = Copier(64, 4)
    engine._runner = runner
    return engine, runner


def test_a_copied_prompt_is_drafted_from_it() -> None:
    engine, runner = copying_engine()
    prompt = random.Random(0).sample(range(50), 30)
    engine.add(make_request("r", prompt, 90))
    assert tokens_of(run_all(engine)["r"]) == prompt * 3
    stats = engine.stats()
    assert stats.num_accepted_tokens == stats.num_draft_tokens > 70
    assert len(runner.steps) < 20


def test_a_request_is_drafted_from_the_output_of_one_with_the_same_prompt() -> None:
    engine, runner, _ = make(NgramDrafter(min_length=2, max_length=16, block_size=4))
    for name in ("first", "again"):
        engine.add(make_request(name, PROMPT, 40))
    runs = [tokens_of(run_all(engine)["first"])]
    num_steps = len(runner.steps)
    engine.add(make_request("later", PROMPT, 40))
    runs.append(tokens_of(run_all(engine)["later"]))
    assert runs[0] == runs[1]
    assert len(runner.steps) - num_steps < 20
    engine.add(make_request("salted", PROMPT, 40, cache_salt="x"))
    num_steps = len(runner.steps)
    run_all(engine)
    assert len(runner.steps) - num_steps > 30
