"""Each native operation of each instruction set against the torch reference or float64, on odd shapes."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.single_ops import (
    Record,
    always,
    executor_arguments,
    float_tensor,
    record_program,
    reference,
    run_rows,
)
from inglenook.ops.executor import CacheSpec
from inglenook.ops.native import NativeExecutor, available_isas
from inglenook.ops.program import AttentionSpec, Buffer, Program, RopeSpec, Weight
from inglenook.ops.weights import HostTensor, WeightFormat

pytestmark = pytest.mark.parametrize("isa", available_isas())
WIDTHS = [1, 15, 16, 33, 64, 200]


def native(
    record: Record,
    x: np.ndarray,
    isa: str,
    weights: dict[str, np.ndarray] | None = None,
    *,
    format: WeightFormat = "f32",
    threads: int = 2,
) -> np.ndarray:
    program, tensors = record_program(record, x, weights or {})
    executor = NativeExecutor(
        program, tensors, threads=threads, weight_format=always(format), isa=isa, **executor_arguments(len(x))
    )
    return run_rows(executor, len(x))


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert actual.shape == expected.shape and np.isfinite(actual).all()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# --- row by row -----------------------------------------------------------------------------------------------------


def activated(activation: str, x: np.ndarray) -> np.ndarray:
    """In float64."""
    if activation == "silu":
        return x / (1 + np.exp(-x))
    if activation == "gelu":
        return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh"])
def test_activations_are_accurate_everywhere(isa: str, activation: str) -> None:
    gate = np.concatenate([np.linspace(-12, 12, 4001), np.geomspace(1e-30, 1e4, 999), -np.geomspace(1e-30, 80, 1000)])
    x = np.stack([gate, np.ones_like(gate)], axis=1).astype(np.float32).reshape(100, 120)
    x = np.concatenate([x[:, ::2], x[:, 1::2]], axis=1)

    def record(program: Program, x: Buffer) -> Buffer:
        return program.act_mul(*program.split(x, 60, 60), activation)  # type: ignore[arg-type]

    expected = activated(activation, x[:, :60].astype(np.float64))
    # Where 1 + tanh or 1 + erf cancel, the reference formula itself has no more than absolute precision in float32.
    error = np.abs(native(record, x, isa) - expected) / np.maximum(np.abs(expected), np.abs(x[:, :60]) * 0.05 + 1e-38)
    assert error.max() < (5e-7 if activation == "silu" else 3e-6)


@pytest.mark.parametrize("width", WIDTHS)
def test_rowwise_operations(isa: str, width: int) -> None:
    def record(program: Program, x: Buffer) -> Buffer:
        gate, up = program.split(x, width, width)
        normed = program.rms_norm(program.act_mul(gate, up, "silu"), program.weight("norm", width), 1e-5)
        capped = program.softcap(program.add(normed, program.scale(up, 0.37)), 1.5)
        return program.add(capped, gate)

    x, norm = random(23, 2 * width), random(width, seed=1)
    program, tensors = record_program(record, x, {"norm": norm})
    assert_close(native(record, x, isa, {"norm": norm}), reference(program, tensors, 23), 1e-6)


@pytest.mark.parametrize("style", ["half", "interleaved"])
@pytest.mark.parametrize(("head_dim", "num_pairs"), [(8, 4), (64, 32), (80, 40), (96, 17)])
def test_rope(isa: str, style: str, head_dim: int, num_pairs: int) -> None:
    spec = RopeSpec(tuple(float(10000 ** (-i / num_pairs)) for i in range(num_pairs)), style, 1.25)  # type: ignore[arg-type]

    def record(program: Program, x: Buffer) -> Buffer:
        q, k = program.split(x, 2 * head_dim, head_dim)
        program.rope(k, head_dim, spec)
        program.rope(q, head_dim, spec)
        return x

    x = random(40, 3 * head_dim)
    program, tensors = record_program(record, x, {})
    assert_close(native(record, x, isa), reference(program, tensors, 40), 1e-5)


# --- linear ---------------------------------------------------------------------------------------------------------


def to_bf16(x: np.ndarray) -> np.ndarray:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


ROUNDING: dict[WeightFormat, Callable[[np.ndarray], np.ndarray]] = {
    "f32": lambda x: x,
    "f16": lambda x: x.astype(np.float16).astype(np.float32),
    "bf16": to_bf16,
}


@pytest.mark.parametrize("format", ROUNDING)
@pytest.mark.parametrize(
    ("width", "outs"), [(1, (1,)), (37, (5, 16)), (64, (100,)), (255, (33, 17, 48)), (320, (160,))]
)
def test_linear_with_biases_and_fused_weights(
    isa: str, format: WeightFormat, width: int, outs: tuple[int, ...]
) -> None:
    weights = {f"w{i}": random(out, width, seed=i) for i, out in enumerate(outs)}
    biases = {f"b{i}": random(out, seed=10 + i) for i, out in enumerate(outs) if i != 1}

    def record(program: Program, x: Buffer) -> Buffer:
        declared = [program.weight(name, *values.shape) for name, values in weights.items()]
        bias = [program.weight(f"b{i}", out) if i != 1 else None for i, out in enumerate(outs)]
        return program.linear(x, *declared, biases=tuple(bias))

    x = random(29, width, seed=5)
    actual = native(record, ROUNDING[format](x), isa, {**weights, **biases}, format=format)
    parts = []
    for i in range(len(outs)):
        product = ROUNDING[format](x).astype(np.float64) @ ROUNDING[format](weights[f"w{i}"]).T.astype(np.float64)
        parts.append(product + biases.get(f"b{i}", 0.0))
    assert_close(actual, np.concatenate(parts, axis=1), 1e-6 if width < 100 else 3e-6)


@pytest.mark.parametrize("format", ROUNDING)
def test_a_row_of_a_linear_depends_on_nothing_else(isa: str, format: WeightFormat) -> None:
    weight = random(90, 130)

    def record(program: Program, x: Buffer) -> Buffer:
        return program.linear(x, program.weight("w", 90, 130))

    x = random(40, 130)
    whole = native(record, x, isa, {"w": weight}, format=format)
    for num_rows in range(1, 40):
        part = native(record, x[40 - num_rows :], isa, {"w": weight}, format=format, threads=1 + num_rows % 3)
        np.testing.assert_array_equal(part, whole[40 - num_rows :])


@pytest.mark.parametrize("format", ["f32", "bf16", "q8", "q4"])
@pytest.mark.parametrize("num_rows", [1, 5, 12, 29, 270])
def test_gated_layer_is_the_same_in_one_stage_and_in_several(isa: str, format: WeightFormat, num_rows: int) -> None:
    width, hidden = 96, 224
    weights = {
        "gate": random(hidden, width),
        "up": random(hidden, width, seed=1),
        "down": random(width, hidden, seed=2),
    }
    x = random(num_rows, width, seed=3)

    def record(program: Program, x: Buffer, *, is_fused: bool) -> Buffer:
        gate, up = (program.weight(name, hidden, width) for name in ("gate", "up"))
        if is_fused:
            halves = program.split(program.linear(x, gate, up), hidden, hidden)
        else:
            halves = [program.linear(x, gate), program.linear(x, up)]
        return program.linear(program.act_mul(*halves, "silu"), program.weight("down", width, hidden))

    # 270 rows are cut into blocks for several threads.
    together, apart = (
        native(lambda program, x, f=f: record(program, x, is_fused=f), x, isa, weights, format=format)  # type: ignore[misc]
        for f in (True, False)
    )
    np.testing.assert_array_equal(together, apart)


def test_residual_sums(isa: str) -> None:
    """The plan adds these linears to their residual in place, except where the residual or the product lives on."""
    weights = {name: random(48, 48, seed=i, scale=0.2) for i, name in enumerate("abcd")}

    def record(program: Program, x: Buffer) -> Buffer:
        a, b, c, d = (program.weight(name, 48, 48) for name in "abcd")
        first = program.add(x, program.linear(x, a))  # its own input
        second = program.add(program.linear(first, b), first)
        product = program.linear(second, c)
        third = program.add(second, product)
        fourth = program.add(third, program.linear(product, d))
        return program.add(fourth, program.scale(second, 2.0))

    x = random(19, 48)
    program, tensors = record_program(record, x, weights)
    assert_close(native(record, x, isa, weights), reference(program, tensors, 19), 1e-6)


# --- attention ------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_attention(isa: str, data: st.DataObject) -> None:
    group, num_kv_heads = data.draw(st.sampled_from([(1, 1), (1, 3), (3, 2), (4, 2), (7, 1), (130, 1)]))
    head_dim = data.draw(st.sampled_from([8, 24, 64, 80, 128]))
    dtype = data.draw(st.sampled_from(["f32", "f16", "bf16", "q8"]))
    block_size = data.draw(st.sampled_from([16, 32]))
    num_rows = data.draw(st.integers(1, 80))
    window = data.draw(st.one_of(st.none(), st.integers(1, 70)))
    softcap = data.draw(st.sampled_from([None, 3.0]))
    cache = CacheSpec(num_blocks=7, block_size=block_size, dtype=dtype)
    q_width, kv_width = group * num_kv_heads * head_dim, num_kv_heads * head_dim
    spec = AttentionSpec(0, group * num_kv_heads, num_kv_heads, head_dim, 0.7 / head_dim**0.5, window, softcap)

    def record(program: Program, x: Buffer) -> Buffer:
        q, k, v = program.split(x, q_width, kv_width, kv_width)
        return program.attention(q, k, v, spec)

    x = random(num_rows, q_width + 2 * kv_width, seed=num_rows, scale=2.0)
    program, tensors = record_program(record, x, {})
    executor = NativeExecutor(
        program, tensors, threads=2, weight_format=always("f32"), isa=isa, **executor_arguments(num_rows, cache)
    )
    tolerance = 2e-6 if dtype in ("f32", "f16") else 1e-2  # bf16 rounds each probability to 1 in 256
    assert_close(run_rows(executor, num_rows, cache), reference(program, tensors, num_rows, cache), tolerance)


def test_keys_and_values_too_large_for_float16_saturate(isa: str) -> None:
    def record(program: Program, x: Buffer) -> Buffer:
        q, k, v = program.split(x, 16, 16, 16)
        return program.attention(q, k, v, AttentionSpec(0, 1, 1, 16, 1e-3))

    x = np.concatenate([np.zeros((3, 16)), random(3, 32, scale=1e6)], axis=1).astype(np.float32)
    program, tensors = record_program(record, x, {})
    cache = CacheSpec(1, 32, "f16")
    executor = NativeExecutor(
        program, tensors, threads=1, weight_format=always("f32"), isa=isa, **executor_arguments(3, cache)
    )
    expected = np.clip(x[:, 32:].astype(np.float64), -65504, 65504)
    assert_close(run_rows(executor, 3, cache), np.cumsum(expected, axis=0) / [[1], [2], [3]], 1e-3)


# --- embedding ------------------------------------------------------------------------------------------------------


def test_every_float16_is_read_exactly(isa: str) -> None:
    """Subnormals, infinities and NaN among them."""
    table = np.arange(2**16, dtype=np.uint16).reshape(1024, 64)
    program = Program()
    program.set_output(program.select_rows(program.embed(program.weight("x", 1024, 64))))
    tensors = {"x": HostTensor("x", (1024, 64), "f16", table.reshape(-1).view(np.uint8))}
    cache = CacheSpec(64, 16, "f32")
    executor = NativeExecutor(
        program, tensors, threads=2, weight_format=always("f16"), isa=isa, **executor_arguments(1024, cache)
    )
    np.testing.assert_array_equal(run_rows(executor, 1024, cache), table.view(np.float16).astype(np.float32))


def test_embedding_of_rounded_weights(isa: str) -> None:
    x = random(50, 37)
    for format, rounding in ROUNDING.items():
        program = Program()
        program.set_output(program.select_rows(program.embed(program.weight("x", 50, 37))))
        executor = NativeExecutor(
            program,
            {"x": float_tensor("x", x)},
            threads=1,
            weight_format=always(format),
            isa=isa,
            **executor_arguments(50),
        )
        np.testing.assert_array_equal(run_rows(executor, 50), rounding(x))


# --- the plan -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_programs(isa: str, data: st.DataObject) -> None:
    """Whatever is fused, done in place or shares memory: each program computes what the reference computes."""
    program = Program()
    width = data.draw(st.sampled_from([8, 32, 40]))
    num_rows = data.draw(st.integers(1, 40))
    buffers = [program.embed(program.weight("x", 40, width))]
    names = iter(range(1000))

    def any_buffer() -> Buffer:
        return data.draw(st.sampled_from(buffers[-6:]))

    def weight(*shape: int) -> Weight:
        return program.weight(f"w{next(names)}", *shape)

    for _ in range(data.draw(st.integers(1, 14))):
        kind = data.draw(
            st.sampled_from(["add", "add", "scale", "softcap", "norm", "linear", "linear", "fused", "attend"])
        )
        x = any_buffer()
        if kind == "add":
            buffers.append(program.add(x, any_buffer()))
        elif kind == "scale":
            buffers.append(program.scale(x, 0.7))
        elif kind == "softcap":
            buffers.append(program.softcap(x, 2.0))
        elif kind == "norm":
            buffers.append(program.rms_norm(x, weight(width), 1e-3))
        elif kind == "linear":
            buffers.append(program.linear(x, weight(width, width)))
        elif kind == "fused":
            wide = program.linear(x, weight(width, width), weight(width, width))
            buffers += program.split(wide, width, width)
            buffers.append(program.act_mul(buffers[-2], any_buffer(), "silu"))
        else:
            q, k, v = program.split(program.linear(x, *(weight(width, width) for _ in range(3))), width, width, width)
            program.rope(k, 8, RopeSpec((1.0, 0.1)))
            spec = AttentionSpec(len(program.kv_layers), width // 8, width // 8, 8, 0.3)
            buffers.append(program.attention(q, k, v, spec))
    out = any_buffer()
    for other in data.draw(st.lists(st.sampled_from(buffers), max_size=4)):
        out = program.add(program.scale(other, 0.5), out)
    program.set_output(program.select_rows(out))
    format, tolerance = data.draw(st.sampled_from([("f32", 3e-5), ("bf16", 5e-2)]))
    rng = np.random.default_rng(0)
    tensors = {
        name: float_tensor(
            name, rng.standard_normal(weight.shape) * (0.2 if name != "x" and len(weight.shape) > 1 else 1)
        )
        for name, weight in program.weights.items()
    }
    executor = NativeExecutor(
        program,
        tensors,
        threads=data.draw(st.sampled_from([1, 2, 5])),
        weight_format=always(format),
        isa=isa,
        **executor_arguments(num_rows),
    )
    expected = reference(program, tensors, num_rows, format=format)
    for _ in range(2):  # what the first run leaves behind must not matter
        assert_close(run_rows(executor, num_rows), expected, tolerance)
