"""The operations: the whole instruction set in which models are written.

A model records a `Program` once; an `Executor` (executor.py) replays it for every step. Each step has
`num_tokens` rows that come from several sequences, one after another, without padding. A `Buffer` stands for a
row-major float32 array with one row per token, or per selected token after `select_rows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeGuard

import numpy as np

Rows = Literal["tokens", "selected"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "tanh"]
EmbedIndex = Literal["token_ids", "positions", "token_type_ids"]
PoolMode = Literal["mean", "mean_sqrt_len", "max", "cls"]
RopeStyle = Literal["half", "interleaved"]


@dataclass(frozen=True)
class Buffer:
    """Columns [offset, offset + width) of the array `id`; `offset` isn't 0 only in a slice."""

    id: int
    width: int
    rows: Rows
    offset: int = 0


@dataclass(frozen=True)
class Weight:
    """A tensor that the executor must be given under this name. Matrices are [out_features, in_features]."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RopeSpec:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864).

    Rotates the first 2 * len(inverse_frequencies) columns of each head by position * inverse_frequency.
    `half` pairs column i with i + n/2 (Hugging Face), `interleaved` 2i with 2i + 1 (GGUF's llama). Cosine and sine
    are multiplied by `scale`.
    """

    inverse_frequencies: tuple[float, ...]
    style: RopeStyle = "half"
    scale: float = 1.0


@dataclass(frozen=True)
class AttentionSpec:
    """Attention of one layer over the paged cache. Query head h reads key-value head h // (heads / kv_heads).

    Where it isn't causal, a token sees its whole sequence: all of it is in one step, so that layers of equal heads may
    share a layer of the cache.
    """

    layer: int  # of the cache
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scale: float
    sliding_window: int | None = None  # position p sees positions > p - sliding_window
    softcap: float | None = None  # scores become cap * tanh(score / cap)
    is_causal: bool = True


# --- what is recorded: one dataclass per operation, `out` written, the rest read --------------------------------


@dataclass(frozen=True)
class Embed:
    """out[t] = weight[index[t] + first_row], `index` being one of the step's arrays"""

    out: Buffer
    weight: Weight
    index: EmbedIndex = "token_ids"
    first_row: int = 0


@dataclass(frozen=True)
class Linear:
    """out = x @ concat(weights).T + concat(biases): several matrices over one input, fused (q|k|v, gate|up)."""

    out: Buffer
    x: Buffer
    weights: tuple[Weight, ...]
    biases: tuple[Weight | None, ...]


@dataclass(frozen=True)
class RmsNorm:
    """out = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, arXiv:1910.07467)"""

    out: Buffer
    x: Buffer
    weight: Weight
    eps: float


@dataclass(frozen=True)
class LayerNorm:
    """out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias (Ba et al. 2016, arXiv:1607.06450)"""

    out: Buffer
    x: Buffer
    weight: Weight
    bias: Weight | None
    eps: float


@dataclass(frozen=True)
class Rope:
    """Rotates x in place, head by head."""

    x: Buffer
    head_dim: int
    spec: RopeSpec


@dataclass(frozen=True)
class Attention:
    """Writes k and v into the cache at slot_mapping, then out = softmax(q k^T * scale) v over each sequence."""

    out: Buffer
    q: Buffer
    k: Buffer
    v: Buffer
    spec: AttentionSpec


@dataclass(frozen=True)
class ActMul:
    """out = act(gate) * up; gate and up have out's width."""

    out: Buffer
    gate: Buffer
    up: Buffer
    activation: Activation


@dataclass(frozen=True)
class Act:
    """out = act(x)"""

    out: Buffer
    x: Buffer
    activation: Activation


@dataclass(frozen=True)
class Add:
    out: Buffer
    x: Buffer
    y: Buffer


@dataclass(frozen=True)
class Scale:
    out: Buffer
    x: Buffer
    factor: float


@dataclass(frozen=True)
class SoftCap:
    """out = cap * tanh(x / cap)"""

    out: Buffer
    x: Buffer
    cap: float


@dataclass(frozen=True)
class SelectRows:
    """out[i] = x[selected_rows[i]]"""

    out: Buffer
    x: Buffer


@dataclass(frozen=True)
class Pool:
    """out[i] is made of the rows of a sequence from its first in the step to selected_rows[i], which is one of them.

    mean: their sum, from first to last, over their number; mean_sqrt_len: over its square root; max: the largest of
    each column; cls: the first row.
    """

    out: Buffer
    x: Buffer
    mode: PoolMode


Op = Embed | Linear | RmsNorm | LayerNorm | Rope | Attention | ActMul | Act | Add | Scale | SoftCap | SelectRows | Pool


class Program:
    """Records operations in order. Shapes are checked here, so that an executor may rely on them."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.weights: dict[str, Weight] = {}
        self.num_buffers = 0
        self.output: Buffer | None = None
        self.kv_layers: list[AttentionSpec] = []

    def weight(self, name: str, *shape: int) -> Weight:
        """Declare a weight, or get the one declared under this name (tied weights)."""
        weight = Weight(name, shape)
        declared = self.weights.setdefault(name, weight)
        assert declared == weight, f"{name} is declared as {declared.shape} and as {shape}"
        return declared

    def embed(self, weight: Weight, index: EmbedIndex = "token_ids", first_row: int = 0) -> Buffer:
        assert 0 <= first_row < weight.shape[0]
        out = self._new(weight.shape[1])
        self.ops.append(Embed(out, weight, index, first_row))
        return out

    def linear(self, x: Buffer, *weights: Weight, biases: tuple[Weight | None, ...] | None = None) -> Buffer:
        assert all(w.shape[1] == x.width for w in weights)
        biases = biases or (None,) * len(weights)
        assert len(biases) == len(weights)
        assert all(b is None or b.shape == w.shape[:1] for w, b in zip(weights, biases, strict=True))
        out = self._new(sum(w.shape[0] for w in weights), x.rows)
        self.ops.append(Linear(out, x, weights, biases))
        return out

    def rms_norm(self, x: Buffer, weight: Weight, eps: float) -> Buffer:
        assert weight.shape == (x.width,)
        out = self._new(x.width, x.rows)
        self.ops.append(RmsNorm(out, x, weight, eps))
        return out

    def layer_norm(self, x: Buffer, weight: Weight, bias: Weight | None, eps: float) -> Buffer:
        assert weight.shape == (x.width,) and (bias is None or bias.shape == weight.shape)
        out = self._new(x.width, x.rows)
        self.ops.append(LayerNorm(out, x, weight, bias, eps))
        return out

    def rope(self, x: Buffer, head_dim: int, spec: RopeSpec) -> None:
        assert x.width % head_dim == 0 and 2 * len(spec.inverse_frequencies) <= head_dim
        self.ops.append(Rope(x, head_dim, spec))

    def attention(self, q: Buffer, k: Buffer, v: Buffer, spec: AttentionSpec) -> Buffer:
        assert spec.num_heads % spec.num_kv_heads == 0
        assert q.width == spec.num_heads * spec.head_dim
        assert k.width == v.width == spec.num_kv_heads * spec.head_dim
        if spec.layer == len(self.kv_layers):
            self.kv_layers.append(spec)
        else:
            assert spec == self.kv_layers[spec.layer] and not spec.is_causal
        assert spec.is_causal or spec.sliding_window is None
        out = self._new(q.width)
        self.ops.append(Attention(out, q, k, v, spec))
        return out

    def act_mul(self, gate: Buffer, up: Buffer, activation: Activation) -> Buffer:
        assert gate.width == up.width
        out = self._new(gate.width, gate.rows)
        self.ops.append(ActMul(out, gate, up, activation))
        return out

    def act(self, x: Buffer, activation: Activation) -> Buffer:
        out = self._new(x.width, x.rows)
        self.ops.append(Act(out, x, activation))
        return out

    def add(self, x: Buffer, y: Buffer) -> Buffer:
        assert (x.width, x.rows) == (y.width, y.rows)
        out = self._new(x.width, x.rows)
        self.ops.append(Add(out, x, y))
        return out

    def scale(self, x: Buffer, factor: float) -> Buffer:
        out = self._new(x.width, x.rows)
        self.ops.append(Scale(out, x, factor))
        return out

    def softcap(self, x: Buffer, cap: float) -> Buffer:
        out = self._new(x.width, x.rows)
        self.ops.append(SoftCap(out, x, cap))
        return out

    def select_rows(self, x: Buffer) -> Buffer:
        assert x.rows == "tokens"
        out = self._new(x.width, "selected")
        self.ops.append(SelectRows(out, x))
        return out

    def pool(self, x: Buffer, mode: PoolMode) -> Buffer:
        assert x.rows == "tokens"
        out = self._new(x.width, "selected")
        self.ops.append(Pool(out, x, mode))
        return out

    def logits(self, x: Buffer, weight: Weight) -> Buffer:
        """The program's result: a linear over the selected rows."""
        assert x.rows == "selected" and self.output is None
        self.output = self.linear(x, weight)
        return self.output

    def split(self, x: Buffer, *widths: int) -> list[Buffer]:
        """Views of neighbouring columns; nothing is copied."""
        assert sum(widths) == x.width
        offsets = np.cumsum([0, *widths[:-1]])
        return [
            Buffer(x.id, width, x.rows, x.offset + int(offset)) for width, offset in zip(widths, offsets, strict=True)
        ]

    def set_output(self, x: Buffer) -> None:
        """Name the result where it isn't the logits themselves (a softcap behind them)."""
        self.output = x

    @property
    def needs_whole_sequences(self) -> bool:
        """Every sequence has to be in a step with all of its tokens."""
        return any(isinstance(op, Pool) for op in self.ops) or not all(spec.is_causal for spec in self.kv_layers)

    @property
    def max_positions(self) -> int | None:
        """How many positions it has embeddings for; None where it has as many as one likes."""
        rows = [op.weight.shape[0] - op.first_row for op in self.ops if _is_embed(op, "positions")]
        return min(rows, default=None)

    @property
    def num_token_types(self) -> int:
        """0 where it reads none."""
        return min((op.weight.shape[0] for op in self.ops if _is_embed(op, "token_type_ids")), default=0)

    def _new(self, width: int, rows: Rows = "tokens") -> Buffer:
        buffer = Buffer(self.num_buffers, width, rows)
        self.num_buffers += 1
        return buffer


def _is_embed(op: Op, index: EmbedIndex) -> TypeGuard[Embed]:
    return isinstance(op, Embed) and op.index == index
