"""Speculation on the real executors and the real sampler: tokens and log-probabilities are those without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fixtures.drafters import Scripted, eager, made_eager
from fixtures.token_probes import PROBES, PROMPT, REQUESTS, engine, run, run_plainly
from inglenook.config import SpeculativeSettings
from inglenook.engine.engine import EngineStats
from inglenook.engine.plan import MIB
from inglenook.errors import EngineError
from inglenook.ops.sampling import SamplerState, sample, sample_runs
from inglenook.types import SamplingParams

NGRAM, OFF = SpeculativeSettings("ngram"), SpeculativeSettings("none")


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[Any, ...]]:
    return run_plainly()


@pytest.mark.parametrize("accuracy", [0.0, 0.6, 1.0])
def test_scripted_drafts(expected: dict[str, tuple[Any, ...]], accuracy: float) -> None:
    scripts = {name: [token.token_id for token in tokens] for name, (tokens, _, _) in expected.items()}
    with engine(NGRAM) as speculative:
        drafter = Scripted(scripts, accuracy)
        speculative._engine.scheduler.speculator = eager(drafter, max_rows=16, max_draft_tokens=7)
        for request in REQUESTS:
            assert run(speculative, [request]) == {request.request_id: expected[request.request_id]}
        assert run(speculative, REQUESTS) == expected
        check_share(speculative.stats(), accuracy)


def check_share(stats: EngineStats, accuracy: float) -> None:
    assert stats.num_draft_tokens > 50
    share = stats.num_accepted_tokens / stats.num_draft_tokens
    assert share == accuracy if accuracy in (0.0, 1.0) else 0.1 < share < 0.9


def test_prompt_lookup(expected: dict[str, tuple[Any, ...]]) -> None:
    with engine(NGRAM) as speculative:
        made_eager(speculative._engine.scheduler.speculator)  # whether it pays is a matter of the clock
        for _ in range(2):  # the second time from the first one's output
            assert run(speculative, REQUESTS) == expected
        assert speculative.stats().num_accepted_tokens > 0


def test_preempted_sequences(expected: dict[str, tuple[Any, ...]]) -> None:
    scripts = {name: [token.token_id for token in tokens] for name, (tokens, _, _) in expected.items()}
    with engine(NGRAM, kv_cache_memory_bytes=MIB // 32, enable_prefix_caching=False) as speculative:
        assert speculative._engine.scheduler.pool.num_blocks == 8
        drafter = Scripted(scripts, 0.7)
        speculative._engine.scheduler.speculator = eager(drafter, max_rows=16, max_draft_tokens=7)
        assert run(speculative, REQUESTS) == expected
        assert speculative.stats().num_preemptions > 0


def test_torch(expected: dict[str, tuple[Any, ...]]) -> None:
    """Its rounding depends on the batch, so that only the tokens are the same."""
    with engine(OFF, device="torch") as plain:
        tokens = {name: [t.token_id for t in result[0]] for name, result in run(plain, REQUESTS).items()}
    with engine(NGRAM, device="torch") as speculative:
        speculative._engine.scheduler.speculator = eager(Scripted(tokens, 0.7), max_rows=16, max_draft_tokens=7)
        results = run(speculative, REQUESTS)
        assert {name: [t.token_id for t in result[0]] for name, result in results.items()} == tokens
        assert speculative.stats().num_accepted_tokens > 0


# --- the sampler ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("num_right", [0, 1, 3])
def test_a_run_is_so_many_single_samples(name: str, num_right: int) -> None:
    logits = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32) * 3
    params = SamplingParams(logprobs=2, **PROBES[name])

    def state() -> SamplerState:
        return SamplerState(params, vocab_size=256, seed=9, prompt_token_ids=PROMPT, stop_token_ids=frozenset({8, 16}))

    plain, runner = state(), state()
    singles = [sample(logits[i : i + 1], [plain]) for i in range(num_right + 1)]
    right = [single.token_ids[0] for single in singles]
    draft = [*right[:num_right], *([(right[num_right] + 1) % 256] * (3 - num_right))]
    (tokens,) = sample_runs(logits, [runner], [draft])
    assert tokens == [(s.token_ids[0], s.logprobs[0], s.top[0]) for s in singles]
    assert runner.num_output == num_right + 1
    follower = sample(logits[:1], [runner])
    assert follower == sample(logits[:1], [plain])


def test_an_error_behind_the_first_row_waits_for_its_step() -> None:
    logits = np.zeros((3, 16), np.float32)
    logits[:, 5] = 1
    logits[1] = np.nan
    params = SamplingParams(temperature=0.0)
    state = SamplerState(params, vocab_size=16, seed=0, prompt_token_ids=(), stop_token_ids=frozenset())
    assert sample_runs(logits, [state], [[5, 5]]) == [[(5, None, ())]]
    (error,) = sample_runs(logits[1:], [state], [[5]])
    assert isinstance(error, EngineError) and "NaN" in str(error)
    assert state.num_output == 1


def test_runs_of_several_sequences_with_masks() -> None:
    logits = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    mask = np.full((5, 2), 2**32 - 1, np.uint32)
    mask[:, 0] = 0  # the upper half is allowed
    best = 32 + logits[:, 32:].argmax(axis=1)
    params = SamplingParams(temperature=0.0)
    states = [
        SamplerState(params, vocab_size=64, seed=0, prompt_token_ids=(), stop_token_ids=frozenset()) for _ in range(2)
    ]
    runs = sample_runs(logits, states, [[int(best[0]), 3], [int(best[3])]], mask=mask)
    assert [[token for token, _, _ in run] for run in runs if not isinstance(run, EngineError)] == [
        best[:2].tolist(),
        best[3:].tolist(),
    ]
