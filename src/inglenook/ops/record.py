"""A program as the C++ tape takes it: its operations one by one, with buffers and weights as numbers."""

from __future__ import annotations

from inglenook.ops import _native
from inglenook.ops.program import (
    Act,
    ActMul,
    Add,
    Attention,
    Buffer,
    Embed,
    LayerNorm,
    Linear,
    Op,
    Pool,
    Program,
    RmsNorm,
    Rope,
    RopeSpec,
    Scale,
    SelectRows,
    SoftCap,
)

# In the order of the native enums.
_ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu", "tanh")
_EMBED_INDICES = ("token_ids", "positions", "token_type_ids")
_POOL_MODES = ("mean", "mean_sqrt_len", "max", "cls")


def record(program: Program) -> tuple[_native.Program, dict[str, int]]:
    """The program for the tape, and the slot of each weight in it."""
    assert program.output is not None and program.output.rows == "selected"
    slots = {name: slot for slot, name in enumerate(program.weights)}
    recorded = _native.Program()
    recorded.num_weights = len(slots)
    recorded.max_positions = program.max_positions or 0
    recorded.num_token_types = program.num_token_types
    recorded.needs_whole_sequences = program.needs_whole_sequences
    shapes = _buffer_shapes(program)
    for buffer_id in range(program.num_buffers):
        width, is_selected = shapes[buffer_id]
        recorded.buffer(width, is_selected)
    tables: dict[RopeSpec, int] = {}
    for op in program.ops:
        _record_op(recorded, op, slots, tables)
    recorded.set_output(_view(program.output))
    return recorded, slots


def _buffer_shapes(program: Program) -> dict[int, tuple[int, bool]]:
    """Width and whether its rows are the selected ones, of each buffer: every one is some operation's whole result."""
    outs = (op.out for op in program.ops if not isinstance(op, Rope))
    return {out.id: (out.width, out.rows == "selected") for out in outs}


def _view(buffer: Buffer) -> tuple[int, int, int]:
    return buffer.id, buffer.offset, buffer.width


def _record_op(recorded: _native.Program, op: Op, slots: dict[str, int], tables: dict[RopeSpec, int]) -> None:
    match op:
        case Embed():
            if op.index == "token_ids":
                recorded.vocabulary = op.weight.shape[0]
            recorded.embed(_view(op.out), slots[op.weight.name], _EMBED_INDICES.index(op.index), op.first_row)
        case Linear():
            weights = [slots[weight.name] for weight in op.weights]
            biases = [-1 if bias is None else slots[bias.name] for bias in op.biases]
            recorded.linear(_view(op.out), _view(op.x), weights, biases)
        case RmsNorm():
            recorded.rms_norm(_view(op.out), _view(op.x), slots[op.weight.name], op.eps)
        case LayerNorm():
            bias = -1 if op.bias is None else slots[op.bias.name]
            recorded.layer_norm(_view(op.out), _view(op.x), slots[op.weight.name], bias, op.eps)
        case Rope():
            if op.spec not in tables:
                spec = op.spec
                tables[spec] = recorded.rope_table(
                    list(spec.inverse_frequencies), spec.scale, spec.style == "interleaved"
                )
            recorded.rope(_view(op.x), op.head_dim, tables[op.spec])
        case Attention():
            heads = op.spec
            recorded.attention(
                _view(op.out),
                _view(op.q),
                _view(op.k),
                _view(op.v),
                heads.num_heads,
                heads.num_kv_heads,
                heads.head_dim,
                heads.scale,
                heads.sliding_window or 0,
                heads.softcap or 0.0,
                heads.layer,
                heads.is_causal,
            )
        case ActMul():
            recorded.act_mul(_view(op.out), _view(op.gate), _view(op.up), _ACTIVATIONS.index(op.activation))
        case Act():
            recorded.act(_view(op.out), _view(op.x), _ACTIVATIONS.index(op.activation))
        case Add():
            recorded.add(_view(op.out), _view(op.x), _view(op.y))
        case Scale():
            recorded.scale(_view(op.out), _view(op.x), op.factor)
        case SoftCap():
            recorded.softcap(_view(op.out), _view(op.x), op.cap)
        case SelectRows():
            recorded.select_rows(_view(op.out), _view(op.x))
        case Pool():
            recorded.pool(_view(op.out), _view(op.x), _POOL_MODES.index(op.mode))
        case _:
            raise AssertionError(f"The tape has no operation {type(op).__name__}.")
