"""What a step must do at least: bytes of weights to read, multiply-adds to compute. Shares are measured against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from inglenook.ops.probes import Limits
from inglenook.ops.program import Attention, AttentionSpec, Linear, Program
from inglenook.ops.weights import KeptWeight, WeightFormat

MatrixKind = Literal["body", "head"]  # computed for every token, or for selected tokens only


@dataclass(frozen=True)
class Matrix:
    kind: MatrixKind
    num_weights: int
    num_bytes: int
    format: WeightFormat


@dataclass(frozen=True)
class StepCost:
    """Of all matrices that a step multiplies with, and of attention; looking up an embedding costs nothing."""

    matrices: tuple[Matrix, ...]
    layers: tuple[AttentionSpec, ...]
    kv_value_bytes: float  # with what its quantised forms need besides

    @property
    def num_bytes(self) -> int:
        """Of the weights: read once per step, whatever the number of tokens."""
        return sum(matrix.num_bytes for matrix in self.matrices)

    @property
    def format(self) -> WeightFormat:
        """The one in which most weights of the layers are."""
        body = [matrix for matrix in self.matrices if matrix.kind == "body"]
        totals = {matrix.format: 0 for matrix in body}
        for matrix in body:
            totals[matrix.format] += matrix.num_weights
        return max(totals, key=lambda name: totals[name])

    def operations(self, num_tokens: int, num_selected: int) -> int:
        """Two for each multiply-add; without attention."""
        rows = {"body": num_tokens, "head": num_selected}
        return sum(2 * rows[matrix.kind] * matrix.num_weights for matrix in self.matrices)

    def attention_operations(self, num_tokens: int) -> int:
        """Of a prompt from its beginning: scores and weighted values of each token over itself and those before it."""
        return sum(4 * spec.num_heads * spec.head_dim * _seen_keys(spec, num_tokens) for spec in self.layers)

    def kv_bytes(self, context: int) -> float:
        """Keys and values that one token after `context` others reads."""
        return sum(
            2 * spec.num_kv_heads * spec.head_dim * self.kv_value_bytes * min(context, spec.sliding_window or context)
            for spec in self.layers
        )

    def least_seconds(self, num_tokens: int, num_selected: int, limits: Limits, *, context: int = 0) -> float:
        """The longer of reading the weights and of multiplying with them, at the machine's measured limits.

        With `context` the keys and values of a sequence of that length are read, too.
        """
        is_float = self.format in ("f32", "f16", "bf16")
        peak = (limits.bf16_gflop_s if is_float else limits.int8_gop_s) * 1e9
        reading = (self.num_bytes + self.kv_bytes(context)) / (limits.read_gb_s * 1e9)
        return max(reading, self.operations(num_tokens, num_selected) / peak)


def step_cost(program: Program, kept: Mapping[str, KeptWeight], *, kv_bytes_per_token: float = 0) -> StepCost:
    """`kept` says in which format each weight lies in memory, and how large it is."""
    matrices = []
    layers = []
    for op in program.ops:
        if isinstance(op, Attention):
            layers.append(op.spec)
        if isinstance(op, Linear):
            kind: MatrixKind = "head" if op.out.rows == "selected" else "body"
            for weight in op.weights:
                matrix = kept[weight.name]
                matrices.append(Matrix(kind, prod(weight.shape), matrix.num_bytes, matrix.format))
    num_values = sum(2 * spec.num_kv_heads * spec.head_dim for spec in layers)
    return StepCost(tuple(matrices), tuple(layers), kv_bytes_per_token / max(1, num_values))


def _seen_keys(spec: AttentionSpec, num_tokens: int) -> int:
    """Pairs of a query and a key that it sees."""
    window = min(spec.sliding_window or num_tokens, num_tokens)
    return window * (window + 1) // 2 + (num_tokens - window) * window
