"""Memory plans of pooling engines: as long as fits, as large as a step; wishes are honoured or refused with numbers."""

from __future__ import annotations

from typing import Any

import pytest

from inglenook.config import EngineSettings
from inglenook.engine.memory import AvailableMemory
from inglenook.engine.plan import MIB, RESERVE_BYTES, Plan
from inglenook.engine.pooling_plan import PoolingNeeds, make_pooling_plan
from inglenook.errors import ConfigError, OutOfMemoryError

GIB = 2**30
ENGINE = EngineSettings()


def plan(num_bytes: int, *, is_whole: bool = True, max_model_len: int | None = None, **options: Any) -> Plan:
    """A model with 100 MiB of weights that takes 64 KiB of working memory for each token of a step."""
    needs = PoolingNeeds(100 * MIB, lambda num_tokens: num_tokens << 16, 32 << 10, is_whole)
    sizes = {"own_length": 8192, "longest": 16384, **options}
    return make_pooling_plan(ENGINE, needs, AvailableMemory(num_bytes, "free"), max_model_len=max_model_len, **sizes)


def test_own_length_where_it_fits() -> None:
    made = plan(4 * GIB)
    assert (made.max_model_len, made.model_max_len) == (8192, 16384)
    assert made.activations == 8192 << 16  # a step holds a whole input
    assert made.num_blocks == 8192 // 32 + ENGINE.max_num_seqs


def test_a_step_holds_many_short_inputs() -> None:
    made = plan(GIB, own_length=128)
    assert made.activations == ENGINE.max_num_batched_tokens << 16
    assert made.total < 300 * MIB  # several models fit beside each other


def test_long_inputs_in_chunks_need_their_cache_only() -> None:
    made = plan(4 * GIB, is_whole=False)
    assert made.activations == ENGINE.max_num_batched_tokens << 16
    assert made.num_blocks == (8192 + ENGINE.max_num_batched_tokens) // 32 + ENGINE.max_num_seqs


def test_shorter_where_memory_is_short() -> None:
    made = plan(600 * MIB)
    assert made.max_model_len == 4096
    assert made.total <= 600 * MIB


def test_a_wish_is_honoured_or_refused() -> None:
    assert plan(4 * GIB, max_model_len=16384).max_model_len == 16384
    with pytest.raises(ConfigError, match="takes inputs of at most 16384 tokens"):
        plan(4 * GIB, max_model_len=16385)
    with pytest.raises(OutOfMemoryError, match=r"8192 tokens need .* What would fit: inputs of 4096 tokens"):
        plan(600 * MIB, max_model_len=8192)


def test_what_does_not_fit_at_all() -> None:
    with pytest.raises(OutOfMemoryError, match="take a smaller model"):
        plan(100 * MIB + RESERVE_BYTES)
