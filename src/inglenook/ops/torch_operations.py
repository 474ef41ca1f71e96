"""Each operation of program.py as one small function on float32 torch tensors; `run` replays a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from inglenook.errors import ConfigError
from inglenook.ops.dequantize import dequantize
from inglenook.ops.executor import BlockCopy, CacheDType, CacheSpec, StepInput
from inglenook.ops.program import (
    Act,
    Activation,
    ActMul,
    Add,
    Attention,
    AttentionSpec,
    Buffer,
    Embed,
    LayerNorm,
    Linear,
    Op,
    Pool,
    PoolMode,
    RmsNorm,
    Rope,
    RopeSpec,
    Scale,
    SelectRows,
    SoftCap,
)
from inglenook.ops.weights import HostTensor, WeightFormat

LARGEST_F16 = 65504.0
LOG2_E = 1.44269504
ACTIVATIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "tanh": torch.tanh,
}
num_threads = torch.get_num_threads
set_num_threads = torch.set_num_threads


@dataclass(frozen=True)
class LoadedWeight:
    values: torch.Tensor  # float32, already rounded to the format it stands for
    rounds_activations: bool = False  # to bf16, as bf16 dot products do


class KVCache:
    """Keys and values of every layer, [num_slots, num_kv_heads, head_dim] each. q8 is kept as it decodes."""

    def __init__(self, layers: Sequence[AttentionSpec], spec: CacheSpec, device: str) -> None:
        dtype = {"f16": torch.float16, "bf16": torch.bfloat16}.get(spec.dtype, torch.float32)
        num_slots = spec.num_blocks * spec.block_size
        shapes = [(num_slots, layer.num_kv_heads, layer.head_dim) for layer in layers]
        self.block_size = spec.block_size
        self.format = spec.dtype
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for shape in shapes]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for shape in shapes]

    def copy_blocks(self, copies: Sequence[BlockCopy]) -> None:
        for copy in copies:
            source, target = (slice(b * self.block_size, (b + 1) * self.block_size) for b in copy)
            for layer in (*self.keys, *self.values):
                layer[target] = layer[source]


@dataclass(frozen=True)
class State:
    """What lasts from step to step."""

    weights: dict[str, LoadedWeight]
    cache: KVCache

    @property
    def device(self) -> torch.device:
        return next(iter(self.weights.values())).values.device


@dataclass
class Step:
    """What lives for one step: its input, and the arrays behind the buffers."""

    state: State
    input: StepInput
    arrays: dict[int, torch.Tensor] = field(default_factory=dict)  # by buffer id; [rows, width]

    def __getitem__(self, buffer: Buffer) -> torch.Tensor:
        """A view, also of a slice."""
        return self.arrays[buffer.id][:, buffer.offset : buffer.offset + buffer.width]

    def __setitem__(self, buffer: Buffer, values: torch.Tensor) -> None:
        assert buffer.offset == 0 and values.shape[1] == buffer.width
        self.arrays[buffer.id] = values

    def index(self, name: str) -> torch.Tensor:
        """One of the input's arrays as int64."""
        values = getattr(self.input, name)
        if values is None:
            assert name == "token_type_ids"
            values = np.zeros_like(self.input.token_ids)
        return torch.as_tensor(values, device=self.state.device).long()


def load_weight(
    tensor: HostTensor, weight_format: Callable[[HostTensor], WeightFormat] | None, device: str
) -> LoadedWeight:
    values = torch.from_numpy(dequantize(tensor))
    if len(tensor.shape) == 1:
        return LoadedWeight(values.to(device))  # norms and biases stay float32 in every back end
    format = weight_format(tensor) if weight_format else tensor.encoding
    if format == "f16":
        values = values.half().float()
    elif format == "bf16":
        values = values.bfloat16().float()
    elif format in ("q8", "q4") and tensor.encoding in ("f32", "f16", "bf16"):
        raise ConfigError("The torch back end doesn't quantise weights while loading; leave --quantization out.")
    return LoadedWeight(values.to(device), rounds_activations=format == "bf16")


@torch.inference_mode()
def run(ops: Sequence[Op], output: Buffer, state: State, input: StepInput) -> torch.Tensor:
    """[num_selected, output.width] float32"""
    step = Step(state, input)
    for op in ops:
        OPERATIONS[type(op)](op, step)
    return step[output]


def embed(op: Embed, step: Step) -> None:
    step[op.out] = step.state.weights[op.weight.name].values[step.index(op.index) + op.first_row]


def linear(op: Linear, step: Step) -> None:
    columns = []
    for weight, bias in zip(op.weights, op.biases, strict=True):
        loaded = step.state.weights[weight.name]
        x = step[op.x].bfloat16().float() if loaded.rounds_activations else step[op.x]
        columns.append(F.linear(x, loaded.values, None if bias is None else step.state.weights[bias.name].values))
    step[op.out] = torch.cat(columns, dim=1)


def rms_norm(op: RmsNorm, step: Step) -> None:
    x = step[op.x]
    mean_square = x.square().mean(dim=1, keepdim=True)
    step[op.out] = x / torch.sqrt(mean_square + op.eps) * step.state.weights[op.weight.name].values


def layer_norm(op: LayerNorm, step: Step) -> None:
    x = step[op.x] - step[op.x].mean(dim=1, keepdim=True)
    variance = x.square().mean(dim=1, keepdim=True)
    normed = x / torch.sqrt(variance + op.eps) * step.state.weights[op.weight.name].values
    step[op.out] = normed if op.bias is None else normed + step.state.weights[op.bias.name].values


def rope(op: Rope, step: Step) -> None:
    num_pairs = len(op.spec.inverse_frequencies)
    cos, sin = rope_tables(op.spec, step.index("positions"))  # [tokens, 1, pairs]
    heads = split_heads(step[op.x], op.head_dim)[:, :, : 2 * num_pairs]  # [tokens, heads, rotated], a view
    if op.spec.style == "half":
        first, second = heads[:, :, :num_pairs], heads[:, :, num_pairs:]
    else:
        first, second = heads[:, :, 0::2], heads[:, :, 1::2]
    rotated = first * cos - second * sin, second * cos + first * sin
    first.copy_(rotated[0])
    second.copy_(rotated[1])


def rope_tables(spec: RopeSpec, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine, [tokens, 1, pairs]. Angles are double: at position 100,000 float32 is off by 0.004 already."""
    frequencies = torch.tensor(spec.inverse_frequencies, dtype=torch.float64, device=positions.device)
    angles = positions[:, None, None] * frequencies
    return (angles.cos() * spec.scale).float(), (angles.sin() * spec.scale).float()


def attention(op: Attention, step: Step) -> None:
    """Sequence by sequence; each sees its own keys through its block table."""
    spec, cache = op.spec, step.state.cache
    keys, values = cache.keys[spec.layer], cache.values[spec.layer]
    slots = step.index("slot_mapping")
    keys[slots] = to_cache(split_heads(step[op.k], spec.head_dim), cache.format).to(keys.dtype)
    values[slots] = to_cache(split_heads(step[op.v], spec.head_dim), cache.format).to(values.dtype)
    out = torch.empty_like(step[op.q])
    starts = step.input.query_starts.tolist()
    for sequence, length in enumerate(step.input.context_lengths.tolist()):
        rows = slice(starts[sequence], starts[sequence + 1])
        slots = sequence_slots(step.index("block_tables")[sequence], cache.block_size, length)
        q = split_heads(step[op.q][rows], spec.head_dim) * spec.scale
        if cache.format in (
            "bf16",
            "q8",
        ):  # as bf16 dot products round; times log2 e, since exponentials are powers of 2
            q = (q * LOG2_E).bfloat16().float() / LOG2_E
        positions = step.index("positions")[rows]
        out[rows] = attend(q, keys[slots].float(), values[slots].float(), positions, spec).flatten(1)
    step[op.out] = out


def split_heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    """[tokens, heads * head_dim] -> [tokens, heads, head_dim], a view"""
    return x.view(len(x), x.shape[1] // head_dim, head_dim)


def to_cache(x: torch.Tensor, format: CacheDType) -> torch.Tensor:
    """x, [tokens, heads, head_dim], as the cache's format rounds it."""
    if format == "q8":
        largest = x.abs().amax(dim=-1, keepdim=True)
        inverse = torch.where(largest > 0, 127 / largest, 0)
        return torch.round(x * inverse) * (largest / 127)
    # a value beyond half precision saturates: infinity would turn the whole sequence into NaN
    return x.clamp(-LARGEST_F16, LARGEST_F16) if format == "f16" else x


def sequence_slots(block_table: torch.Tensor, block_size: int, length: int) -> torch.Tensor:
    """Where the keys at positions 0 to length - 1 lie."""
    offsets = torch.arange(block_size, device=block_table.device)
    return (block_table[:, None] * block_size + offsets).flatten()[:length]


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, positions: torch.Tensor, spec: AttentionSpec
) -> torch.Tensor:
    """q (scaled), result [tokens, heads, head_dim]; k, v [context, kv_heads, head_dim]; positions [tokens]."""
    group = spec.num_heads // spec.num_kv_heads
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = torch.einsum("thd,shd->hts", q, k)
    if spec.softcap is not None:
        scores = spec.softcap * torch.tanh(scores / spec.softcap)
    key_positions = torch.arange(len(k), device=k.device)
    is_visible = key_positions <= (positions[:, None] if spec.is_causal else len(k))
    if spec.sliding_window is not None:
        is_visible &= key_positions > positions[:, None] - spec.sliding_window
    probabilities = scores.masked_fill(~is_visible, -torch.inf).softmax(dim=-1)
    return torch.einsum("hts,shd->thd", probabilities, v)


def act_mul(op: ActMul, step: Step) -> None:
    step[op.out] = ACTIVATIONS[op.activation](step[op.gate]) * step[op.up]


def act(op: Act, step: Step) -> None:
    step[op.out] = ACTIVATIONS[op.activation](step[op.x])


def add(op: Add, step: Step) -> None:
    step[op.out] = step[op.x] + step[op.y]


def scale(op: Scale, step: Step) -> None:
    step[op.out] = step[op.x] * op.factor


def softcap(op: SoftCap, step: Step) -> None:
    step[op.out] = op.cap * torch.tanh(step[op.x] / op.cap)


def select_rows(op: SelectRows, step: Step) -> None:
    step[op.out] = step[op.x][step.index("selected_rows")]


def pool(op: Pool, step: Step) -> None:
    starts, selected = step.index("query_starts"), step.index("selected_rows")
    firsts = starts[torch.searchsorted(starts, selected, right=True) - 1]
    pooled = [POOLS[op.mode](step[op.x][first : last + 1]) for first, last in zip(firsts, selected, strict=True)]
    step[op.out] = torch.stack(pooled) if pooled else torch.empty(0, op.out.width, device=step.state.device)


POOLS: dict[PoolMode, Callable[[torch.Tensor], torch.Tensor]] = {  # [rows, width] -> [width]
    "mean": lambda x: x.mean(dim=0),
    "mean_sqrt_len": lambda x: x.sum(dim=0) / len(x) ** 0.5,
    "max": lambda x: x.amax(dim=0),
    "cls": lambda x: x[0],
}
OPERATIONS: dict[type, Callable[[Any, Step], None]] = {
    Embed: embed,
    Linear: linear,
    RmsNorm: rms_norm,
    LayerNorm: layer_norm,
    Rope: rope,
    Attention: attention,
    ActMul: act_mul,
    Act: act,
    Add: add,
    Scale: scale,
    SoftCap: softcap,
    SelectRows: select_rows,
    Pool: pool,
}
