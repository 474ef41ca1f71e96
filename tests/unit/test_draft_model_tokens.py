"""A draft model on the real executors: tokens and log-probabilities are those without it, and nothing is left over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.drafters import check_draft_cache, made_eager
from fixtures.tiny_folder import write_tiny_folder
from fixtures.token_probes import REQUESTS, engine, run, run_plainly
from inglenook.config import EngineSettings, ModelSettings, SpeculativeSettings
from inglenook.engine import load
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.load import load_engine
from inglenook.engine.memory import AvailableMemory
from inglenook.engine.plan import MIB
from inglenook.engine.request import EngineRequest
from inglenook.engine.speculative.draft_model import DraftModel
from inglenook.errors import CheckpointError, ConfigError, OutOfMemoryError
from inglenook.types import SamplingParams

SAME = SpeculativeSettings(model="dummy:tiny", num_speculative_tokens=5)
OTHER = SpeculativeSettings(model="dummy:tiny-q8_0", num_speculative_tokens=5)  # other random numbers


@contextmanager
def drafting(speculation: SpeculativeSettings, **settings: Any) -> Iterator[AsyncEngine]:
    """Drafts all that may be, and at the end every block is free."""
    with engine(speculation, **{"kv_cache_memory_bytes": 2 * MIB, **settings}) as opened:
        speculator = made_eager(opened._engine.scheduler.speculator)
        yield opened
        assert not speculator._is_off
        drafter = speculator._drafter
        assert isinstance(drafter, DraftModel)
        deadline = time.monotonic() + 10
        while opened.stats().num_running and time.monotonic() < deadline:
            time.sleep(0.01)
        check_draft_cache(drafter)
        cache = drafter._cache
        assert cache.pool.num_free == cache.pool.num_blocks == opened._engine.scheduler.pool.num_blocks


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[Any, ...]]:
    return run_plainly()


def share(engine: AsyncEngine) -> float:
    stats = engine.stats()
    assert stats.num_draft_tokens > 20
    return stats.num_accepted_tokens / stats.num_draft_tokens


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"enable_prefix_caching": False, "threads": 3},
        {"max_num_batched_tokens": 7, "max_num_seqs": 5},
        {"kv_cache_memory_bytes": MIB // 16, "enable_prefix_caching": False},
        {"kv_cache_dtype": "q8"},
    ],
    ids=["together", "uncached", "chunked", "preempted", "q8"],
)
@pytest.mark.parametrize("speculation", [SAME, OTHER], ids=["same", "other"])
def test_same_tokens(
    expected: dict[str, tuple[Any, ...]], speculation: SpeculativeSettings, settings: dict[str, Any]
) -> None:
    with drafting(speculation, **settings) as speculative:
        if "kv_cache_dtype" in settings:
            with engine(SpeculativeSettings("none"), **settings) as plain:
                expected = run(plain, REQUESTS)
        for request in REQUESTS:
            assert run(speculative, [request]) == {request.request_id: expected[request.request_id]}
        for _ in range(2):
            assert run(speculative, REQUESTS) == expected
        assert share(speculative) > 0.05 if speculation is SAME else share(speculative) < 0.05
        assert (speculative.stats().num_preemptions > 0) == (settings.get("kv_cache_memory_bytes") is not None)


def test_the_model_itself_drafts_what_it_says() -> None:
    """All of a greedy answer is accepted, whatever else runs: both keep the same keys and values."""
    sampling = SamplingParams(max_tokens=60, temperature=0.0)
    prompts = [tuple((7 * j + i) % 256 for j in range(3 + 30 * i)) for i in range(6)]
    greedy = [EngineRequest(str(i), prompt, sampling) for i, prompt in enumerate(prompts)]
    with drafting(SAME) as speculative:
        run(speculative, greedy)
        assert share(speculative) == 1.0


def test_a_cancelled_request_leaves_nothing(expected: dict[str, tuple[Any, ...]]) -> None:
    endless = EngineRequest("endless", (5, 6, 7), SamplingParams(max_tokens=400, temperature=0.0))
    with drafting(SAME) as speculative:
        for number, _ in enumerate(speculative.generate_blocking([endless])):
            if number == 5:
                break
        assert run(speculative, REQUESTS) == expected


def test_torch(expected: dict[str, tuple[Any, ...]]) -> None:
    with engine(SpeculativeSettings("none"), device="torch") as plain:
        tokens = {name: [t.token_id for t in result[0]] for name, result in run(plain, REQUESTS).items()}
    with drafting(SAME, device="torch") as speculative:
        results = run(speculative, REQUESTS)
        assert {name: [t.token_id for t in result[0]] for name, result in results.items()} == tokens
        assert share(speculative) > 0.05  # of all requests; what is drafted of which one depends on measured times


# --- loading ------------------------------------------------------------------------------------------


def test_a_draft_model_from_files_with_a_shorter_context(
    tmp_path: Path, expected: dict[str, tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_tiny_folder(tmp_path / "draft", max_position_embeddings=64)
    with (
        caplog.at_level("INFO"),
        drafting(SpeculativeSettings(model="draft"), draft_path=folder) as speculative,
    ):
        assert run(speculative, REQUESTS) == expected
        assert speculative.stats().num_draft_tokens > 0
    assert "The draft model's context is 64 tokens: sequences of more, up to 512, go on without drafts." in caplog.text


def load_with(draft: str, path: Path | None = None, **settings: Any) -> load.LoadedEngine:
    speculation = SpeculativeSettings(model=draft)
    engine = EngineSettings(speculative_config=speculation, **{"threads": 2, **settings})
    return load_engine(None, ModelSettings(model="dummy:tiny"), engine, draft_path=path)


def test_what_cannot_draft_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "larger", vocab_size=300)
    with pytest.raises(ConfigError, match=r"larger has a vocabulary of 300 tokens and dummy:tiny one of 256") as caught:
        load_with("larger", folder)
    assert caught.value.param == "speculative_config"
    with pytest.raises(ConfigError, match="49152 tokens"):
        load_with("dummy:135m")
    with pytest.raises(CheckpointError, match="nonsense"):
        load_with("dummy:nonsense")


def test_the_plan_counts_the_draft_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_with("dummy:tiny", kv_cache_memory_bytes=MIB)
    loaded.engine.stop()
    plan = loaded.plan
    assert plan.draft is not None
    assert (plan.draft.weights, plan.draft.kv_per_block) == (plan.weights, plan.kv_per_block)
    assert plan.num_blocks == MIB // (2 * plan.kv_per_block)
    assert plan.kv_cache == 2 * plan.num_blocks * plan.kv_per_block <= MIB
    assert plan.total == plan.weights * 2 + plan.activations + plan.draft.activations + plan.kv_cache + plan.reserve
    monkeypatch.setattr(load, "available_memory", lambda: AvailableMemory(plan.total - 1, "free on this machine"))
    with pytest.raises(OutOfMemoryError, match=r"of draft model and .*no draft model \(--speculative-config ngram\)"):
        load_with("dummy:tiny", kv_cache_memory_bytes=MIB)


def test_a_failure_between_the_executors_closes_both(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def fail(*args: Any) -> None:
        raise MemoryError

    from inglenook.ops.native import NativeExecutor

    close = NativeExecutor.close
    monkeypatch.setattr(NativeExecutor, "close", lambda self: (closed.append(self), close(self))[1])
    monkeypatch.setattr(load, "_make_draft_model", fail)
    with pytest.raises(MemoryError):
        load_with("dummy:tiny", kv_cache_memory_bytes=MIB)
    assert len(closed) == 1
