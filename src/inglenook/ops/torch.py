"""Runs a program on torch tensors in float32: the readable reference, which defines what is correct.

The operations themselves are in torch_operations.py, which is the one place that imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inglenook.errors import CheckpointError, ConfigError
from inglenook.ops.executor import BlockCopy, CacheSpec, StepInput
from inglenook.ops.program import Program
from inglenook.ops.weights import HostTensor, WeightFormat

if TYPE_CHECKING:
    import torch


class TorchExecutor:
    """Implements program.Executor; takes the arguments of native.NativeExecutor.

    `weight_format` says how a matrix is kept: the 16-bit floats round it (and bf16 the activations that it
    multiplies too); f32 keeps what the checkpoint has, quantised encodings exactly as they decode. Without it every
    matrix keeps its checkpoint's format. `device` is a torch device. Raises ConfigError where torch isn't installed,
    CheckpointError where a weight is missing or has another shape than the program declares.
    """

    def __init__(
        self,
        program: Program,
        weights: Mapping[str, HostTensor],
        *,
        cache: CacheSpec,
        max_num_tokens: int,
        max_num_selected: int,
        threads: int | None = None,
        weight_format: Callable[[HostTensor], WeightFormat] | None = None,
        device: str = "cpu",
    ) -> None:
        operations = _import_operations()
        assert program.output is not None
        self.program = program
        self.max_num_tokens = max_num_tokens
        self.max_num_selected = max_num_selected
        self.threads = threads
        self._operations = operations
        self._state = operations.State(
            {
                name: operations.load_weight(_checked(name, weight.shape, weights), weight_format, device)
                for name, weight in program.weights.items()
            },
            operations.KVCache(program.kv_layers, cache, device),
        )

    def run(self, step: StepInput) -> npt.NDArray[np.float32]:
        """Logits [num_selected, width] of one step; a fresh array on the CPU."""
        assert len(step.token_ids) <= self.max_num_tokens and len(step.selected_rows) <= self.max_num_selected
        assert self.program.output is not None
        with self._limited_threads():
            output: torch.Tensor = self._operations.run(self.program.ops, self.program.output, self._state, step)
        result: npt.NDArray[np.float32] = output.cpu().numpy()
        return result

    def copy_blocks(self, copies: Sequence[BlockCopy]) -> None:
        self._state.cache.copy_blocks(copies)

    def close(self) -> None:
        self._state = None

    @contextmanager
    def _limited_threads(self) -> Iterator[None]:
        # the number is the whole process's: it is only set while a step runs
        before = self._operations.num_threads()
        self._operations.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            self._operations.set_num_threads(before)


def _import_operations() -> ModuleType:
    try:
        from inglenook.ops import torch_operations
    except ImportError as error:
        raise ConfigError(
            "The torch back end needs PyTorch, which isn't installed: pip install 'inglenook[torch]'."
        ) from error
    return torch_operations


def _checked(name: str, shape: tuple[int, ...], weights: Mapping[str, HostTensor]) -> HostTensor:
    tensor = weights.get(name)
    if tensor is None:
        raise CheckpointError(f"The checkpoint lacks the weight {name!r}, which the model needs.")
    if tensor.shape != shape:
        raise CheckpointError(f"The weight {name!r} has the shape {tensor.shape}; the model needs {shape}.")
    return tensor
