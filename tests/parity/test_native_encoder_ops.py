"""The operations of encoders on each instruction set, against the torch reference or float64, on odd shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import erf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.single_ops import Record, always, executor_arguments, record_program, reference, run_rows
from fixtures.steps import PagedSequences
from inglenook.errors import EngineError
from inglenook.ops.executor import CacheSpec, StepInput
from inglenook.ops.native import NativeExecutor, available_isas
from inglenook.ops.program import AttentionSpec, Buffer, PoolMode, Program
from inglenook.ops.torch import TorchExecutor

pytestmark = pytest.mark.parametrize("isa", available_isas())
WIDTHS = [1, 15, 16, 33, 64, 200, 384]
MAX_LENGTH = 160


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert actual.shape == expected.shape and np.isfinite(actual).all()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def both(
    record: Record, x: np.ndarray, isa: str, weights: dict[str, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """All rows as one sequence: what native gives, and the reference."""
    program, tensors = record_program(record, x, weights or {})
    executor = NativeExecutor(
        program, tensors, threads=2, weight_format=always("f32"), isa=isa, **executor_arguments(len(x))
    )
    return run_rows(executor, len(x)), reference(program, tensors, len(x))


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu", "tanh"])
def test_activations(isa: str, activation: str) -> None:
    exact = {
        "silu": lambda x: x / (1 + np.exp(-x)),
        "gelu": lambda x: 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2))),
        "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
    }
    x = np.linspace(-11, 11, 37 * 70).astype(np.float32).reshape(70, 37)
    native, torch = both(lambda program, x: program.act(x, activation), x, isa)  # type: ignore[arg-type]
    np.testing.assert_allclose(native, exact[activation](x.astype(np.float64)), rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(native, torch, rtol=1e-6, atol=2e-6)


def test_an_activation_leaves_what_is_read_later(isa: str) -> None:
    """The plan writes over an operand only where nobody reads it again."""
    native, torch = both(lambda program, x: program.add(program.act(x, "gelu"), x), random(20, 33), isa)
    assert_close(native, torch, 1e-6)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_layer_norm(isa: str, width: int, has_bias: bool) -> None:
    x = random(23, width) + 7  # a mean that is large beside the deviations
    weights = {"w": random(width, seed=1), "b": random(width, seed=2)}

    def record(program: Program, x: Buffer) -> Buffer:
        return program.layer_norm(x, program.weight("w", width), program.weight("b", width) if has_bias else None, 1e-3)

    native, torch = both(record, x, isa, weights if has_bias else {"w": weights["w"]})
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    exact = centred / np.sqrt(centred.var(1, keepdims=True) + 1e-3) * weights["w"] + has_bias * weights["b"]
    assert_close(native, exact, 2e-5 if width == 1 else 3e-6)
    assert_close(torch, exact, 2e-5 if width == 1 else 3e-6)


# --- several sequences in a step -----------------------------------------------------------------------------------


def step_of(lengths: Sequence[int], cache: CacheSpec, *, last_rows: bool = False) -> StepInput:
    """Tokens count up over all sequences, so that row i of the embedding is row i of the step."""
    ends = np.cumsum(lengths)
    chunks = [(s, range(end - length, end)) for s, (length, end) in enumerate(zip(lengths, ends, strict=True))]
    step = PagedSequences(cache, len(lengths), MAX_LENGTH, seed=len(lengths)).step(chunks)
    return replace(step, selected_rows=(ends - 1).astype(np.int32)) if last_rows else step


def exact_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, lengths: list[int], spec: AttentionSpec) -> np.ndarray:
    """softmax(q k^T * scale) v of each sequence, in float64."""
    heads = [a.astype(np.float64).reshape(len(a), -1, spec.head_dim).swapaxes(0, 1) for a in (q, k, v)]
    rows = []
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        own_q, own_k, own_v = (a[:, end - length : end] for a in heads)
        own_k, own_v = (a.repeat(spec.num_heads // spec.num_kv_heads, axis=0) for a in (own_k, own_v))
        scores = np.exp(own_q @ own_k.swapaxes(1, 2) * spec.scale)
        rows.append((scores / scores.sum(axis=-1, keepdims=True) @ own_v).swapaxes(0, 1).reshape(length, -1))
    return np.concatenate(rows)


LENGTHS = st.lists(st.integers(1, MAX_LENGTH), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), lengths=LENGTHS)
def test_attention_over_whole_sequences(isa: str, data: st.DataObject, lengths: list[int]) -> None:
    """Two layers share one of the cache; each sequence gives what it gives alone, bit for bit."""
    group, num_kv_heads = data.draw(st.sampled_from([(1, 1), (1, 3), (3, 2), (130, 1)]))
    head_dim = data.draw(st.sampled_from([8, 24, 32, 64, 80]))
    dtype = data.draw(st.sampled_from(["f32", "f16", "bf16", "q8"]))
    cache = CacheSpec(num_blocks=40, block_size=data.draw(st.sampled_from([16, 32])), dtype=dtype)
    q_width, kv_width = group * num_kv_heads * head_dim, num_kv_heads * head_dim
    spec = AttentionSpec(0, group * num_kv_heads, num_kv_heads, head_dim, 0.7 / head_dim**0.5, is_causal=False)

    def record(program: Program, x: Buffer) -> Buffer:
        q, k, v = program.split(x, q_width, kv_width, kv_width)
        return program.add(program.attention(q, k, v, spec), program.attention(q, v, k, spec))

    x = random(sum(lengths), q_width + 2 * kv_width, seed=sum(lengths), scale=2.0)
    program, tensors = record_program(record, x, {})
    assert program.needs_whole_sequences and len(program.kv_layers) == 1
    sizes = executor_arguments(sum(lengths), cache)
    executor = NativeExecutor(program, tensors, threads=2, weight_format=always("f32"), isa=isa, **sizes)
    got = executor.run(step_of(lengths, cache)).copy()
    if dtype in ("f32", "f16"):  # against the exact result: the reference's own float32 errs as much as ours
        q, k, v = np.split(x, [q_width, q_width + kv_width], axis=1)
        kept = np.float16 if dtype == "f16" else np.float32
        expected = sum(exact_attention(q, a.astype(kept), b.astype(kept), lengths, spec) for a, b in ((k, v), (v, k)))
        assert_close(got, expected, 2e-6)
    else:
        assert_close(got, TorchExecutor(program, tensors, **sizes).run(step_of(lengths, cache)), 1e-2)
    ends = np.cumsum(lengths)
    for length, end in zip(lengths, ends, strict=True):
        alone = replace(step_of([length], cache), token_ids=np.arange(end - length, end, dtype=np.int32))
        np.testing.assert_array_equal(executor.run(alone), got[end - length : end])


def test_a_token_sees_what_follows_it(isa: str) -> None:
    spec = AttentionSpec(0, 1, 1, 16, 0.25, is_causal=False)
    x = random(50, 48)
    native, _ = both(lambda program, x: program.attention(*program.split(x, 16, 16, 16), spec), x, isa)
    x[-1] += 1
    changed, _ = both(lambda program, x: program.attention(*program.split(x, 16, 16, 16), spec), x, isa)
    assert (np.abs(native - changed).max(axis=1) > 0).all()


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, width=st.sampled_from(WIDTHS), mode=st.sampled_from(["mean", "mean_sqrt_len", "max", "cls"]))
def test_pool(isa: str, lengths: list[int], width: int, mode: PoolMode) -> None:
    x = random(sum(lengths), width) + 3  # sums that don't cancel
    program, tensors = record_program(lambda program, x: program.pool(x, mode), x, {})
    cache = CacheSpec(num_blocks=40, block_size=16, dtype="f32")
    sizes = executor_arguments(sum(lengths), cache)
    step = step_of(lengths, cache, last_rows=True)
    executor = NativeExecutor(program, tensors, threads=2, weight_format=always("f32"), isa=isa, **sizes)
    got = executor.run(step).copy()
    assert_close(got, TorchExecutor(program, tensors, **sizes).run(step), 3e-6)
    parts = np.split(x.astype(np.float64), np.cumsum(lengths)[:-1])
    pools = {
        "mean": lambda rows: rows.mean(0),
        "mean_sqrt_len": lambda rows: rows.sum(0) / len(rows) ** 0.5,
        "max": lambda rows: rows.max(0),
        "cls": lambda rows: rows[0],
    }
    assert_close(got, np.array([pools[mode](part) for part in parts]), 3e-6)


@pytest.mark.parametrize("with_types", [True, False])
def test_positions_and_token_types(isa: str, with_types: bool) -> None:
    x, positions, types = random(40, 24), random(MAX_LENGTH + 2, 24, seed=1), random(3, 24, seed=2)

    def record(program: Program, x: Buffer) -> Buffer:
        x = program.add(x, program.embed(program.weight("positions", *positions.shape), "positions", 2))
        return program.add(x, program.embed(program.weight("types", *types.shape), "token_type_ids"))

    program, tensors = record_program(record, x, {"positions": positions, "types": types})
    assert (program.max_positions, program.num_token_types) == (MAX_LENGTH, 3)
    cache = CacheSpec(num_blocks=40, block_size=16, dtype="f32")
    sizes = executor_arguments(40, cache)
    step = step_of([11, 1, 28], cache)
    chosen = np.arange(40, dtype=np.int32) % 3 if with_types else None
    step = replace(step, token_type_ids=chosen)
    executor = NativeExecutor(program, tensors, threads=2, weight_format=always("f32"), isa=isa, **sizes)
    got = executor.run(step).copy()
    np.testing.assert_array_equal(got, TorchExecutor(program, tensors, **sizes).run(step))
    of_type = types[chosen] if chosen is not None else types[[0] * 40]
    np.testing.assert_array_equal(got, x + positions[step.positions + 2] + of_type)


def test_bad_steps_are_refused(isa: str) -> None:
    spec = AttentionSpec(0, 1, 1, 8, 0.5, is_causal=False)

    def record(program: Program, x: Buffer) -> Buffer:
        x = program.add(x, program.embed(program.weight("positions", 20, 24), "positions", 2))
        x = program.add(x, program.embed(program.weight("types", 2, 24), "token_type_ids"))
        return program.attention(*program.split(x, 8, 8, 8), spec)

    weights = {"positions": random(20, 24), "types": random(2, 24)}
    program, tensors = record_program(record, random(40, 24), weights)
    cache = CacheSpec(num_blocks=40, block_size=16, dtype="f32")
    executor = NativeExecutor(
        program, tensors, threads=1, weight_format=always("f32"), isa=isa, **executor_arguments(40, cache)
    )
    sequences = PagedSequences(cache, 1, 40)
    first = sequences.step([(0, range(10))])
    executor.run(first)
    with pytest.raises(EngineError, match="must have all"):
        executor.run(sequences.step([(0, range(5))]))
    with pytest.raises(EngineError, match=r"context_lengths\[0\] is 19; it must be in \[1, 19\)"):
        executor.run(step_of([19], cache))
    with pytest.raises(EngineError, match=r"token_type_ids\[3\] is 2"):
        executor.run(replace(first, token_type_ids=np.array([0, 1, 0, 2] + [0] * 6, np.int32)))
    with pytest.raises(EngineError, match="lengths don't agree"):
        executor.run(replace(first, token_type_ids=np.zeros(9, np.int32)))
    executor.run(step_of([18], cache))
