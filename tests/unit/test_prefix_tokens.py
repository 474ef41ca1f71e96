"""Shared beginnings on the real executors: computed once, and the tokens and log-probabilities of requests alone."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from fixtures.drafters import check_draft_cache, made_eager
from fixtures.fake_engine import check_pool
from fixtures.token_probes import engine, outcome, run
from inglenook.config import KVCacheDType, SpeculativeSettings
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.plan import MIB
from inglenook.engine.prefix_cache import MIN_COPIED
from inglenook.engine.request import EngineRequest
from inglenook.types import SamplingParams

NO_DRAFTS = SpeculativeSettings("none")
DRAFT_MODEL = SpeculativeSettings(model="dummy:tiny", num_speculative_tokens=5)
LENGTHS = [3, 7, 15, 16, 17, 31, 32, 33, 45]


def choices(length: int, count: int = 4) -> list[EngineRequest]:
    prompt = tuple((11 * i + length) % 250 for i in range(length))
    return [
        EngineRequest(
            f"{length}-{i}", prompt, SamplingParams(max_tokens=20, temperature=0.9 * (i % 2), seed=i, logprobs=2)
        )
        for i in range(count)
    ]


def branches() -> list[EngineRequest]:
    """A prompt's continuations, each of another length and from another place."""
    trunk = tuple(7 * i % 250 for i in range(70))
    sampling = SamplingParams(max_tokens=30, temperature=0.8, seed=1, logprobs=1)
    return [EngineRequest(f"b{i}", (*trunk[: 70 - 3 * i], 200 + i, 9, i), sampling) for i in range(20)]


def alone(requests: list[EngineRequest], **settings: Any) -> dict[str, tuple[Any, ...]]:
    with engine(NO_DRAFTS, **{"enable_prefix_caching": False, "threads": 1, **settings}) as plain:
        return {name: result for request in requests for name, result in run(plain, [request]).items()}


def check_free(opened: AsyncEngine) -> None:
    scheduler = opened._engine.scheduler
    check_pool(scheduler)
    assert scheduler.pool.num_free == scheduler.pool.num_blocks and not scheduler._prefixes.copies


@pytest.mark.parametrize("block_size", [16, 32])
@pytest.mark.parametrize("dtype", [name for name in get_args(KVCacheDType) if name != "auto"])
def test_choices_compute_their_prompt_once(dtype: str, block_size: int) -> None:
    settings = {"kv_cache_dtype": dtype, "block_size": block_size}
    expected = alone([r for length in LENGTHS for r in choices(length)], **settings)
    with engine(NO_DRAFTS, **settings) as opened:
        for length in LENGTHS:
            before = opened.stats().num_prefix_hit_tokens
            for name, result in run(opened, choices(length)).items():
                assert result == expected[name]
            if length > 4:  # fewer tokens than that aren't waited for
                assert opened.stats().num_prefix_hit_tokens - before == 3 * (length - 1)
        check_free(opened)


@pytest.mark.parametrize(
    "settings",
    [{}, {"max_num_batched_tokens": 7}, {"kv_cache_memory_bytes": MIB // 32}, {"kv_cache_dtype": "q8"}],
    ids=["together", "chunked", "preempted", "q8"],
)
@pytest.mark.parametrize("speculation", [NO_DRAFTS, DRAFT_MODEL], ids=["plain", "drafted"])
def test_branches_of_a_prompt(speculation: SpeculativeSettings, settings: dict[str, Any]) -> None:
    kept = {name: value for name, value in settings.items() if name == "kv_cache_dtype"}
    requests = branches() + choices(31) + choices(45)
    expected = alone(requests, **kept)
    if speculation.model is not None and "kv_cache_memory_bytes" in settings:
        settings = {"kv_cache_memory_bytes": 2 * settings["kv_cache_memory_bytes"]}
    with engine(speculation, **settings) as opened:
        if speculation.model is not None:
            made_eager(opened._engine.scheduler.speculator)
        for _ in range(3):
            assert run(opened, requests) == expected
        stats = opened.stats()
        assert stats.num_prefix_hit_tokens > 1000
        assert (stats.num_preemptions > 0) == ("kv_cache_memory_bytes" in settings)
        check_free(opened)
        if speculation.model is not None:
            assert stats.num_accepted_tokens > 0  # how much is drafted depends on measured times
            check_draft_cache(opened._engine.scheduler.speculator._drafter)


def test_a_conversation_is_computed_once() -> None:
    """Each turn has all before it but for its last token."""
    with engine(NO_DRAFTS) as opened:
        history: tuple[int, ...] = (3, 1, 4, 1, 5)
        requests, results, cached = [], [], []
        for turn in range(5):
            request = EngineRequest(str(turn), history, SamplingParams(max_tokens=9, temperature=0.9, seed=turn))
            outputs = list(opened.generate_blocking([request]))
            requests.append(request)
            results.append(outcome(outputs))
            cached.append(outputs[0].num_cached_tokens)
            history += tuple(token.token_id for output in outputs for token in output.tokens)
            history += (turn, 7, turn)
        known = [len(request.prompt_token_ids) - 4 for request in requests[1:]]
        assert all(0 <= n - count < MIN_COPIED for n, count in zip(known, cached[1:], strict=True))
        assert cached[0] == 0 and sum(cached) >= sum(known) - 1
    assert list(alone(requests).values()) == results
