"""The native executor: packs the weights, plans the C++ tape of a program, replays one step per call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from inglenook.errors import CheckpointError, ConfigError, EngineError
from inglenook.ops import _native
from inglenook.ops.dequantize import dequantize
from inglenook.ops.executor import BlockCopy, CacheSpec, StepInput
from inglenook.ops.profile import StageTime, stage_times
from inglenook.ops.program import Program, Weight
from inglenook.ops.quantize import pack_matrix
from inglenook.ops.record import record
from inglenook.ops.weights import BLOCK_LAYOUTS, HostTensor, WeightFormat

MAX_QUANTIZED_HEAD = 256  # kMaxQuantizedHead
_CACHE_KINDS = ("f32", "f16", "bf16", "q8")  # in the order of the native enum


def available_isas() -> list[str]:
    """Instruction sets that this build has and this processor runs, slowest first; "scalar" is always among them."""
    return _native.available_isas()


def default_isa() -> str:
    return available_isas()[-1]


def memory_estimate(
    program: Program, cache: CacheSpec, max_num_tokens: int, max_num_selected: int, *, threads: int = 1
) -> int:
    """Bytes that an executor allocates besides the weights: buffers, key-value cache and each thread's scratch."""
    recorded, _ = record(program)
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
    """Implements Executor with the native kernels. `isa` None takes the best that the processor has.

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
        recorded, slots = record(program)
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

    def copy_blocks(self, copies: Sequence[BlockCopy]) -> None:
        """Raises EngineError where there is no such block."""
        try:
            self._tape.copy_blocks(copies)
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
