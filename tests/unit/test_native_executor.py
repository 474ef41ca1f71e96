"""The native executor: same row, same bits, whatever else is computed; a wrong step raises and never crashes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.single_ops import always, float_tensor
from fixtures.steps import PagedSequences, run_in_chunks
from fixtures.two_layers import HIDDEN, VOCABULARY, random_weights, two_layer_program
from inglenook.errors import CheckpointError, ConfigError, EngineError
from inglenook.ops.executor import CacheDType, CacheSpec, StepInput, kv_bytes_per_block
from inglenook.ops.native import NativeExecutor, available_isas, default_isa, memory_estimate
from inglenook.ops.weights import WeightFormat

CACHE = CacheSpec(num_blocks=160, block_size=16, dtype="f16")
CACHE_DTYPES: list[CacheDType] = ["f32", "f16", "bf16", "q8"]
MAX_NUM_TOKENS = 600
FORMATS: list[WeightFormat] = ["f32", "bf16", "q8"]
PROGRAM = two_layer_program()
WEIGHTS = random_weights(PROGRAM)


@lru_cache
def executor(isa: str, format: WeightFormat = "f32", threads: int = 2, dtype: CacheDType = "f16") -> NativeExecutor:
    return NativeExecutor(
        PROGRAM,
        WEIGHTS,
        cache=replace(CACHE, dtype=dtype),
        max_num_tokens=MAX_NUM_TOKENS,
        max_num_selected=MAX_NUM_TOKENS,
        threads=threads,
        weight_format=always(format),
        isa=isa,
    )


def random_prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, length).tolist()


def run_alone(
    executor: NativeExecutor, prompt: Sequence[int], chunks: Sequence[int], *, seed: int = 0, max_length: int = 0
) -> np.ndarray:
    sequences = PagedSequences(CACHE, 1, max_length or len(prompt), seed=seed)
    return run_in_chunks(executor, sequences, [prompt], [chunks])[0]


# --- the same row, the same bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "dtype"), [*((format, "f16") for format in FORMATS), ("f32", "f32"), ("f32", "bf16"), ("f32", "q8")]
)
@pytest.mark.parametrize("isa", available_isas())
def test_chunks_and_neighbours_change_nothing(isa: str, format: WeightFormat, dtype: CacheDType) -> None:
    prompts = [random_prompt(120, seed) for seed in range(4)]
    native = executor(isa, format, dtype=dtype)
    expected = [run_alone(native, prompt, [120]) for prompt in prompts]
    for size in (1, 7, 50):
        chunks = [size] * -(-120 // size)
        np.testing.assert_array_equal(run_alone(native, prompts[0], chunks, seed=1), expected[0])
    mixed = [[120], [1] * 120, [7] * 18, [50, 1, 40, 1, 28]]
    together = run_in_chunks(native, PagedSequences(CACHE, 4, 120, seed=2), prompts, mixed)
    for actual, alone in zip(together, expected, strict=True):
        np.testing.assert_array_equal(actual, alone)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_random_schedules_change_nothing(data: st.DataObject) -> None:
    num_sequences = data.draw(st.integers(1, 5))
    prompts = [random_prompt(data.draw(st.integers(1, 60)), seed) for seed in range(num_sequences)]
    schedule = []
    for prompt in prompts:
        cuts = data.draw(st.lists(st.integers(0, len(prompt)), max_size=6))
        sizes = np.diff([0, *sorted(cuts), len(prompt)])
        schedule.append(sizes[sizes > 0].tolist())
    dtype = data.draw(st.sampled_from(CACHE_DTYPES))
    native = executor(default_isa(), "q8", data.draw(st.sampled_from([1, 2, 16])), dtype)
    together = run_in_chunks(native, PagedSequences(CACHE, num_sequences, 60, seed=3), prompts, schedule)
    plain = executor(default_isa(), "q8", dtype=dtype)
    for actual, prompt in zip(together, prompts, strict=True):
        np.testing.assert_array_equal(actual, run_alone(plain, prompt, [len(prompt)]))


@pytest.mark.parametrize("isa", available_isas())
def test_threads_change_nothing(isa: str) -> None:
    prompt = random_prompt(100)
    chunks = [64, 1, 1, 1, 33]
    expected = run_alone(executor(isa, "bf16", 1), prompt, chunks)
    for threads in (2, 16):
        np.testing.assert_array_equal(run_alone(executor(isa, "bf16", threads), prompt, chunks), expected)


@pytest.mark.parametrize("dtype", CACHE_DTYPES)
@pytest.mark.parametrize("isa", available_isas())
def test_a_long_context_is_shared_among_threads_without_a_trace(isa: str, dtype: CacheDType) -> None:
    """A decode of four partitions: its threads split it when it is alone, not beside seven others."""
    prompt = random_prompt(1600)
    chunks = [600, 600, 300, *[1] * 40, 60]
    alone = run_alone(executor(isa, dtype=dtype), prompt, chunks)
    with_others = run_in_chunks(
        executor(isa, dtype=dtype),
        PagedSequences(CacheSpec(160, 16, "f16"), 1, 1600),
        [prompt],
        [[550, 550, 440, 60]],
    )[0]
    np.testing.assert_array_equal(alone, with_others)
    np.testing.assert_array_equal(alone[-200:], run_alone(executor(isa, threads=1, dtype=dtype), prompt, chunks)[-200:])


def test_instruction_sets_agree() -> None:
    prompt = random_prompt(90)
    for format in FORMATS:
        logits = [run_alone(executor(isa, format), prompt, [90]) for isa in available_isas()]
        for other in logits[1:]:
            np.testing.assert_allclose(other, logits[0], atol=(1e-3 if format == "f32" else 3e-2) * logits[0].max())


@pytest.mark.parametrize("dtype", CACHE_DTYPES)
@pytest.mark.parametrize("isa", available_isas())
def test_what_a_block_held_before_does_not_matter(isa: str, dtype: CacheDType) -> None:
    """Not even NaN, left behind by a sequence that had the block before."""
    cache = CacheSpec(4, 16, dtype)
    embedding = WEIGHTS["embedding"].data.view(np.float32).reshape(VOCABULARY, HIDDEN).copy()
    embedding[96] = np.nan
    native = open_with(weights={**WEIGHTS, "embedding": float_tensor("embedding", embedding)}, cache=cache, isa=isa)

    def run(tokens: Sequence[int]) -> np.ndarray:
        return run_in_chunks(native, PagedSequences(cache, 1, 64), [tokens], [[8] * -(-len(tokens) // 8)])[0][:, :96]

    clean = run([1, 2, 3])
    assert np.isnan(run([96] * 64)).all()
    np.testing.assert_array_equal(run([1, 2, 3]), clean)


# --- input that can't be right ----------------------------------------------------------------------------------------


def good_step() -> StepInput:
    step = PagedSequences(CACHE, 2, 40).step([(0, random_prompt(20)), (1, random_prompt(5))])
    return replace(step, token_type_ids=np.zeros(25, np.int32))


def changed(name: str, index: Any, value: int) -> StepInput:
    step = good_step()
    array = getattr(step, name).copy()
    array[index] = value
    return replace(step, **{name: array})


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("token_ids", 3, -1),
        ("token_ids", 3, VOCABULARY),
        ("positions", 4, 5),
        ("positions", 0, -1),
        ("slot_mapping", 0, -1),
        ("slot_mapping", 7, CACHE.num_blocks * CACHE.block_size),
        ("query_starts", 0, 1),
        ("query_starts", 1, 30),
        ("query_starts", 1, -1),
        ("query_starts", 2, 24),
        ("context_lengths", 0, 19),
        ("context_lengths", 0, 2**31 - 1),
        ("context_lengths", 1, -1),
        ("block_tables", (0, 1), CACHE.num_blocks),
        ("block_tables", (1, 0), -1),
        ("selected_rows", 0, -1),
        ("selected_rows", 1, 0),
        ("selected_rows", 24, 25),
    ],
)
def test_a_wrong_index_raises(name: str, index: Any, value: int) -> None:
    native = executor(default_isa())
    with pytest.raises(EngineError, match=f"Bad step: ({name}|positions)"):
        native.run(changed(name, index, value))
    assert np.isfinite(native.run(good_step())).all()


@pytest.mark.parametrize("name", StepInput.__dataclass_fields__)
def test_arrays_of_the_wrong_kind_raise(name: str) -> None:
    native = executor(default_isa())
    array = getattr(good_step(), name)
    wrong: list[Any] = [array.astype(np.int64), array.astype(np.float32), array[..., None]]
    if name != "token_type_ids":  # these may be left out
        wrong += [None]
    wrong += [np.repeat(array, 2, axis=-1)[..., ::2]]
    if name != "selected_rows":  # fewer of these are a right step
        wrong += [array[1:]]
    for value in wrong:
        with pytest.raises(EngineError):
            native.run(replace(good_step(), **{name: value}))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_numbers_raise_or_run(data: st.DataObject) -> None:
    step = good_step()
    for name in data.draw(st.lists(st.sampled_from(list(StepInput.__dataclass_fields__)), min_size=1, max_size=3)):
        array = getattr(step, name).copy().reshape(-1)
        index = data.draw(st.integers(0, array.size - 1))
        array[index] = data.draw(st.one_of(st.integers(-3, 45), st.integers(-(2**31), 2**31 - 1)))
        step = replace(step, **{name: array.reshape(getattr(step, name).shape)})
    with suppress(EngineError):
        executor(default_isa()).run(step)


def test_too_many_tokens_or_none_raise() -> None:
    sequences = PagedSequences(CACHE, 1, 700)
    with pytest.raises(EngineError, match="601 tokens; at most 600"):
        executor(default_isa()).run(sequences.step([(0, [1] * 601)]))
    empty = np.zeros(0, np.int32)
    none = StepInput(empty, empty, empty, np.zeros(1, np.int32), empty, np.zeros((0, 1), np.int32), empty)
    with pytest.raises(EngineError, match="no tokens"):
        executor(default_isa()).run(none)


def test_no_selected_rows_still_fill_the_cache() -> None:
    native = executor(default_isa())
    prompt = random_prompt(50)
    sequences = PagedSequences(CACHE, 1, 50)
    nothing = native.run(replace(sequences.step([(0, prompt[:49])]), selected_rows=np.zeros(0, np.int32)))
    assert nothing.shape == (0, VOCABULARY)
    last = native.run(sequences.step([(0, prompt[49:])])).copy()
    np.testing.assert_array_equal(last[0], run_alone(native, prompt, [50])[-1])


# --- opening and closing ----------------------------------------------------------------------------------------------


def open_with(**changes: Any) -> NativeExecutor:
    arguments: dict[str, Any] = {
        "weights": WEIGHTS,
        "cache": CACHE,
        "max_num_tokens": 8,
        "max_num_selected": 8,
        "threads": 1,
        "weight_format": always("f32"),
    }
    return NativeExecutor(PROGRAM, **{**arguments, **changes})


def test_weights_that_do_not_fit_are_named() -> None:
    without = {name: tensor for name, tensor in WEIGHTS.items() if name != "1.up"}
    with pytest.raises(CheckpointError, match=r"no weight 1\.up"):
        open_with(weights=without)
    with pytest.raises(CheckpointError, match=r"0\.norm has shape \[63\]; the model needs \[64\]"):
        open_with(weights={**WEIGHTS, "0.norm": float_tensor("0.norm", np.zeros(HIDDEN - 1))})
    short = replace(WEIGHTS["0.norm"], data=WEIGHTS["0.norm"].data[:-4])
    with pytest.raises(CheckpointError, match=r"0\.norm"):
        open_with(weights={**WEIGHTS, "0.norm": short})


def test_unknown_instruction_set_and_block_size() -> None:
    with pytest.raises(ConfigError, match="scalar"):
        open_with(isa="altivec")
    with pytest.raises(ConfigError, match="16 or 32"):
        open_with(cache=CacheSpec(4, 24, "f32"))


def test_the_estimate_is_what_is_allocated() -> None:
    for cache in (CACHE, CacheSpec(10, 32, "f32"), CacheSpec(10, 32, "q8")):
        native = open_with(cache=cache, max_num_tokens=100, max_num_selected=3, threads=2)
        assert memory_estimate(PROGRAM, cache, 100, 3, threads=2) == native.memory_bytes
    more = replace(CACHE, num_blocks=CACHE.num_blocks + 512)
    growth = memory_estimate(PROGRAM, more, 100, 3) - memory_estimate(PROGRAM, CACHE, 100, 3)
    assert kv_bytes_per_block(PROGRAM, CACHE) == 2 * 2 * 2 * 16 * 16 * 2
    assert 0 <= growth - 512 * kv_bytes_per_block(PROGRAM, CACHE) < 0.2 * growth


def test_buffers_share_memory() -> None:
    """The arena of a deep model is no larger than that of two layers."""
    tokens = 128
    arena = memory_estimate(PROGRAM, CACHE, tokens, 1) - memory_estimate(PROGRAM, CACHE, 1, 1)
    assert arena < tokens * 4 * 3 * (HIDDEN + 6 * 16 + 2 * 96)


def test_closing_twice_and_running_after() -> None:
    native = open_with()
    out = native.run(PagedSequences(CACHE, 1, 8).step([(0, [1, 2])]))
    native.close()
    native.close()
    assert np.isfinite(out).all()  # the view stays good
    with pytest.raises(EngineError, match="closed"):
        native.run(good_step())
