"""The native executor: records a program into the C++ tape, packs the weights, replays one step per call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from inglenook.errors import CheckpointError, ConfigError, EngineError
from inglenook.ops import _native
from inglenook.ops.dequantize import dequantize
from inglenook.ops.executor import CacheSpec, StepInput
from inglenook.ops.profile import StageTime, stage_times
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
    Weight,
)
from inglenook.ops.quantize import pack_matrix
from inglenook.ops.weights import BLOCK_LAYOUTS, HostTensor, WeightFormat

# In the order of the native enums.
_ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu", "tanh")
_EMBED_INDICES = ("token_ids", "positions", "token_type_ids")
_POOL_MODES = ("mean", "mean_sqrt_len", "max", "cls")
MAX_QUANTIZED_HEAD = 256  # kMaxQuantizedHead
_CACHE_KINDS = ("f32", "f16", "bf16", "q8")  # the same


def available_isas() -> list[str]:
    """Instruction sets that this build has and this processor runs, slowest first; "scalar" is always among them."""
    return _native.available_isas()


def default_isa() -> str:
    return available_isas()[-1]


def memory_estimate(
    program: Program, cache: CacheSpec, max_num_tokens: int, max_num_selected: int, *, threads: int = 1
) -> int:
    """Bytes that an executor allocates besides the weights: buffers, key-value cache and each thread's scratch."""
    recorded, _ = _record(program)
    return sum(
        _native.tape_memory(
            recorded,
            cache.num_blocks,
            cache.block_size,
            _CACHE_KINDS.index(cache.dtype),
            max_num_tokens,
            max_num_selected,
            threads,
        )
    )


class NativeExecutor:
    """Implements program.Executor with the native kernels. `isa` None takes the best that the processor has.

    `pool` is another executor's, whose threads this one computes with: they may not run at the same time.
    Raises CheckpointError where a weight is missing, has another shape or can't be kept in its format, ConfigError
    where the processor lacks `isa`.
    """

    def __init__(
        self,
        program: Program,
        weights: Mapping[str, HostTensor],
        *,
        cache: CacheSpec,
        max_num_tokens: int,
        max_num_selected: int,
        threads: int,
        weight_format: Callable[[HostTensor], WeightFormat],
        isa: str | None = None,
        pool: _native.ThreadPool | None = None,
    ) -> None:
        self.isa = isa or default_isa()
        self.threads = threads
        if self.isa not in available_isas():
            raise ConfigError(
                f"The instruction set {self.isa!r} can't be had here; available: {', '.join(available_isas())}.",
                param="isa",
            )
        if cache.block_size not in (16, 32):
            raise ConfigError(f"block_size is {cache.block_size}; it must be 16 or 32.", param="block_size")
        widest = max((spec.head_dim for spec in program.kv_layers), default=0)
        if cache.dtype == "q8" and widest > MAX_QUANTIZED_HEAD:
            raise ConfigError(
                f"A q8 key-value cache holds heads of at most {MAX_QUANTIZED_HEAD} values; the model's have {widest}. "
                "Take another kv_cache_dtype.",
                param="kv_cache_dtype",
            )
        recorded, slots = _record(program)
        self._slots = slots
        self._store = _native.WeightStore(threads)
        self._vectors: list[npt.NDArray[np.float32]] = []  # the tape points into them
        self._tape = _native.Tape(
            recorded,
            num_blocks=cache.num_blocks,
            block_size=cache.block_size,
            cache_kind=_CACHE_KINDS.index(cache.dtype),
            max_num_tokens=max_num_tokens,
            max_num_selected=max_num_selected,
            threads=threads,
            isa=self.isa,
            pool=pool,
        )
        for name, weight in program.weights.items():
            self._set_weight(slots[name], weight, _find(weights, weight), weight_format)
        self._tape.finish()
        self._is_closed = False

    @property
    def pool(self) -> _native.ThreadPool:
        """Its threads, for other work between two steps."""
        return self._tape.pool

    @property
    def memory_bytes(self) -> int:
        """Memory allocated besides the weights: what memory_estimate says."""
        return self._tape.memory_bytes

    @property
    def weight_bytes(self) -> int:
        """Memory that the packed weights take."""
        return self._store.nbytes + sum(vector.nbytes for vector in self._vectors)

    def run(self, step: StepInput) -> npt.NDArray[np.float32]:
        """Run one step; returns the output, [num_selected, width], a view that the next call overwrites.

        Raises EngineError where the arrays of the step don't fit together or point outside of what was planned.
        """
        if self._is_closed:
            raise EngineError("The executor is closed.")
        try:
            return self._tape.run(
                step.token_ids,
                step.positions,
                step.slot_mapping,
                step.query_starts,
                step.context_lengths,
                step.block_tables,
                step.selected_rows,
                step.token_type_ids,
            )
        except TypeError as error:
            raise EngineError(f"Bad step: {_describe(step)}; int32 and C-contiguous are wanted.") from error
        except ValueError as error:
            raise EngineError(str(error)) from error

    def start_profile(self) -> None:
        """Time the stages of all steps from now on, and forget what was timed before."""
        self._tape.start_profile()

    def stage_times(self) -> dict[int, list[StageTime]]:
        """Since start_profile, by the number of tokens of a step."""
        return stage_times(self._tape, list(self._slots))

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._tape.close()
        del self._store
        self._vectors.clear()

    def _set_weight(
        self, slot: int, weight: Weight, tensor: HostTensor, weight_format: Callable[[HostTensor], WeightFormat]
    ) -> None:
        if len(weight.shape) == 1:
            vector = _decode_vector(tensor)
            self._vectors.append(vector)
            self._tape.set_vector(slot, vector)
        else:
            self._tape.set_matrix(slot, pack_matrix(self._store, tensor, weight_format(tensor)))


def _find(weights: Mapping[str, HostTensor], weight: Weight) -> HostTensor:
    tensor = weights.get(weight.name)
    if tensor is None:
        raise CheckpointError(f"The checkpoint has no weight {weight.name}, which the model needs.")
    if tensor.shape != weight.shape:
        raise CheckpointError(
            f"The weight {weight.name} has shape {list(tensor.shape)}; the model needs {list(weight.shape)}."
        )
    return tensor


def _decode_vector(tensor: HostTensor) -> npt.NDArray[np.float32]:
    layout = BLOCK_LAYOUTS[tensor.encoding]
    expected = tensor.shape[0] // layout.block_size * layout.block_bytes
    if tensor.data.size != expected or tensor.shape[0] % layout.block_size != 0:
        raise CheckpointError(
            f"The weight {tensor.name} has {tensor.data.size} bytes; {tensor.shape[0]} values of {tensor.encoding} "
            f"take {expected}."
        )
    return np.ascontiguousarray(dequantize(tensor), dtype=np.float32)


def _describe(step: StepInput) -> str:
    arrays = ((name, np.asarray(getattr(step, name))) for name in step.__dataclass_fields__)
    return ", ".join(f"{name} is {array.dtype}{list(array.shape)}" for name, array in arrays)


# --- recording ---


def _record(program: Program) -> tuple[_native.Program, dict[str, int]]:
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
