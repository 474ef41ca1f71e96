"""The torch reference: operations that no tiny model uses, against plain Python; weights and their errors."""

from __future__ import annotations

import builtins
import cmath
import math
import sys
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.steps import PagedSequences
from inglenook.errors import CheckpointError, ConfigError
from inglenook.ops.executor import CacheSpec
from inglenook.ops.program import AttentionSpec, Buffer, Program, RopeSpec
from inglenook.ops.torch import TorchExecutor
from inglenook.ops.weights import HostTensor

CACHE = CacheSpec(num_blocks=4, block_size=16, dtype="f32")
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
VALUES = np.random.default_rng(0).normal(0, 1.5, (10, 48)).astype(np.float32)


def tensor(name: str, values: np.ndarray, encoding: Any = "f32") -> HostTensor:
    return HostTensor(name, values.shape, encoding, np.ascontiguousarray(values).reshape(-1).view(np.uint8))


def make(program: Program, weights: list[HostTensor], **options: Any) -> TorchExecutor:
    named = {weight.name: weight for weight in weights}
    return TorchExecutor(program, named, cache=CACHE, max_num_tokens=16, max_num_selected=16, **options)


def compute(program: Program, output: Buffer, *weights: HostTensor) -> np.ndarray:
    """Rows of `output` for TOKENS, whose embeddings are VALUES[TOKENS]."""
    program.set_output(program.select_rows(output))
    executor = make(program, [tensor("embedding", VALUES), *weights])
    return executor.run(PagedSequences(CACHE, 1, 16).step([(0, TOKENS)]))


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def x(program: Program) -> Buffer:
    return program.embed(program.weight("embedding", *VALUES.shape))


def test_activations(program: Program, x: Buffer) -> None:
    gate, up = program.split(x, 24, 24)
    gate_values, up_values = np.split(VALUES[TOKENS].astype(float), 2, axis=1)
    formulas = {
        "silu": lambda v: v / (1 + math.exp(-v)),
        "gelu": lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2,
        "gelu_tanh": lambda v: v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2,
    }
    for activation, formula in formulas.items():
        result = compute(program, program.act_mul(gate, up, activation))  # type: ignore[arg-type]
        np.testing.assert_allclose(result, np.vectorize(formula)(gate_values) * up_values, rtol=1e-5, atol=1e-6)


def test_scale_and_softcap(program: Program, x: Buffer) -> None:
    result = compute(program, program.softcap(program.scale(x, 3.0), 2.0))
    np.testing.assert_allclose(result, 2 * np.tanh(VALUES[TOKENS].astype(float) * 3 / 2), rtol=1e-5)


@pytest.mark.parametrize("style", ["half", "interleaved"])
def test_rope_is_a_rotation_of_pairs(program: Program, x: Buffer, style: Any) -> None:
    """Of the first 2 * 3 columns of each head of 16, scaled; the rest stays. Pairs are complex numbers here."""
    frequencies = (1.0, 0.3, 0.01)
    program.rope(program.split(x, 32, 16)[0], 16, RopeSpec(frequencies, style, scale=1.5))
    expected = VALUES[TOKENS].astype(float)
    for position, row in enumerate(expected):
        for start in (0, 16):
            for i, frequency in enumerate(frequencies):
                a, b = (start + i, start + i + 3) if style == "half" else (start + 2 * i, start + 2 * i + 1)
                turned = complex(row[a], row[b]) * cmath.rect(1.5, position * frequency)
                row[a], row[b] = turned.real, turned.imag
    np.testing.assert_allclose(compute(program, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("softcap", [None, 0.8])
def test_attention(program: Program, x: Buffer, window: int | None, softcap: float | None) -> None:
    """4 query heads of 6 over 2 key-value heads, one score at a time."""
    q, k, v, _ = program.split(x, 24, 12, 12, 0)
    spec = AttentionSpec(0, num_heads=4, num_kv_heads=2, head_dim=6, scale=0.5, sliding_window=window, softcap=softcap)
    result = compute(program, program.attention(q, k, v, spec)).reshape(len(TOKENS), 4, 6)
    rows = VALUES[TOKENS].astype(float)
    for position in range(len(TOKENS)):
        first = 0 if window is None else max(0, position - window + 1)
        for head in range(4):
            group = head // 2
            keys = rows[first : position + 1, 24 + 6 * group : 30 + 6 * group]
            values = rows[first : position + 1, 36 + 6 * group : 42 + 6 * group]
            scores = [0.5 * float(key @ rows[position, 6 * head : 6 * head + 6]) for key in keys]
            if softcap is not None:
                scores = [softcap * math.tanh(score / softcap) for score in scores]
            shares = np.array([math.exp(score) for score in scores])
            np.testing.assert_allclose(result[position, head], shares / shares.sum() @ values, rtol=1e-4, atol=1e-5)


def test_half_precision_cache_saturates() -> None:
    program = Program()
    x = program.embed(program.weight("embedding", 10, 8))
    q, k, v = program.split(x, 4, 2, 2)
    spec = AttentionSpec(0, num_heads=2, num_kv_heads=1, head_dim=2, scale=0.0)
    program.set_output(program.select_rows(program.attention(q, k, v, spec)))
    huge = tensor("embedding", np.full((10, 8), -1e6, np.float32))
    cache = CacheSpec(num_blocks=4, block_size=16, dtype="f16")
    executor = TorchExecutor(program, {"embedding": huge}, cache=cache, max_num_tokens=16, max_num_selected=16)
    result = executor.run(PagedSequences(cache, 1, 16).step([(0, TOKENS)]))
    np.testing.assert_allclose(result, -65504, rtol=1e-6)


# --- weights ----------------------------------------------------------------------------------------------------


def head(program: Program) -> Program:
    x = program.select_rows(program.embed(program.weight("embedding", *VALUES.shape)))
    program.logits(x, program.weight("head", 10, 48))
    return program


def test_missing_weight_is_named(program: Program) -> None:
    with pytest.raises(CheckpointError, match="'head'"):
        make(head(program), [tensor("embedding", VALUES)])


def test_wrong_shape_is_named(program: Program) -> None:
    with pytest.raises(CheckpointError, match=r"'head' has the shape \(48, 10\)"):
        make(head(program), [tensor("embedding", VALUES), tensor("head", VALUES.T)])


def test_bf16_rounds_weights_and_activations(program: Program) -> None:
    weights = [tensor("embedding", VALUES), tensor("head", VALUES)]
    executor = make(head(program), weights, weight_format=lambda t: "bf16" if t.name == "head" else "f32")
    result = executor.run(PagedSequences(CACHE, 1, 16).step([(0, TOKENS)]))
    rounded = torch.from_numpy(VALUES).bfloat16().double().numpy()
    np.testing.assert_allclose(result, rounded[TOKENS] @ rounded.T, rtol=1e-5, atol=1e-5)


def test_quantising_while_loading_is_refused(program: Program) -> None:
    with pytest.raises(ConfigError, match="--quantization"):
        make(head(program), [tensor("embedding", VALUES), tensor("head", VALUES)], weight_format=lambda t: "q8")


def test_threads_are_set_for_a_step_only(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    executor = make(head(program), [tensor("embedding", VALUES), tensor("head", VALUES)], threads=before + 1)
    seen = []
    monkeypatch.setattr(executor._operations, "run", lambda *_: seen.append(torch.get_num_threads()) or torch.zeros(1))
    executor.run(PagedSequences(CACHE, 1, 16).step([(0, TOKENS)]))
    assert seen == [before + 1] and torch.get_num_threads() == before


def test_without_torch_the_error_says_what_to_install(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_torch(name: str, *args: Any) -> Any:
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return real_import(name, *args)

    import inglenook.ops

    monkeypatch.delitem(sys.modules, "inglenook.ops.torch_operations", raising=False)
    monkeypatch.delattr(inglenook.ops, "torch_operations", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(ConfigError, match=r"pip install 'inglenook\[torch\]'"):
        make(head(program), [])
