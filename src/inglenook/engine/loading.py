"""A model on its way from an open checkpoint to an executor: formats of its weights, bytes that it needs, packing."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from inglenook.checkpoint.checkpoint import Checkpoint
from inglenook.config import EngineSettings, KVCacheDType, ModelSettings, Quantization
from inglenook.errors import ConfigError
from inglenook.models.encoder_config import EncoderConfig
from inglenook.models.registry import ModelConfig
from inglenook.ops.executor import CacheDType, CacheSpec, Executor, kv_bytes_per_block
from inglenook.ops.program import Program
from inglenook.ops.weights import (
    HostTensor,
    KeptWeight,
    WeightFormat,
    is_float_encoding,
    packed_nbytes,
    storage_format,
)

if TYPE_CHECKING:
    from inglenook.ops.sampling import ThreadPool

KV_CACHE_FORMATS: dict[KVCacheDType, CacheDType] = {
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "q8": "q8",
}


@dataclass(frozen=True)
class LoadingModel:
    """`max_num_tokens` and `max_num_selected` bound the steps of its executor."""

    checkpoint: Checkpoint
    config: ModelConfig | EncoderConfig
    program: Program
    model: ModelSettings
    engine: EngineSettings
    max_num_tokens: int
    max_num_selected: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model.model} ({self.config.architecture}, {_in_words(self.config.num_parameters)})"

    @property
    def is_torch(self) -> bool:
        return self.engine.device == "torch"

    @property
    def kv_dtype(self) -> CacheDType:
        """auto: 16 bits, and 32 where the weights have 32, since then precision was asked for."""
        if self.engine.kv_cache_dtype != "auto":
            return KV_CACHE_FORMATS[self.engine.kv_cache_dtype]
        return "f32" if self.matrix_bytes().keys() == {"f32"} else "bf16"

    @property
    def kv_per_block(self) -> int:
        return kv_bytes_per_block(self.program, self.cache(1))

    def cache(self, num_blocks: int) -> CacheSpec:
        return CacheSpec(num_blocks, self.engine.block_size, self.kv_dtype)

    def format_of(self, tensor: HostTensor) -> WeightFormat:
        return storage_format(tensor, self.model.dtype, self.model.quantization)

    def kept_weights(self) -> dict[str, KeptWeight]:
        """Format and size of each weight of the program, as the native back end keeps it."""
        kept = {}
        for name in self.program.weights:
            tensor = self.checkpoint.tensors[name]
            format = self.format_of(tensor)
            kept[name] = KeptWeight(format, packed_nbytes(tensor.shape, tensor.encoding, format))
        return kept

    def matrix_bytes(self) -> dict[WeightFormat, int]:
        """Bytes of the matrices in each format, most first."""
        sizes: dict[WeightFormat, int] = {}
        for tensor in self._tensors():
            if len(tensor.shape) > 1:
                format = self.format_of(tensor)
                sizes[format] = sizes.get(format, 0) + packed_nbytes(tensor.shape, tensor.encoding, format)
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))

    def weight_bytes(self, quantization: Quantization | None) -> int:
        if self.is_torch:  # keeps everything as float32
            return sum(4 * prod(tensor.shape) for tensor in self._tensors())
        return sum(
            packed_nbytes(t.shape, t.encoding, storage_format(t, self.model.dtype, quantization))
            for t in self._tensors()
        )

    def activation_bytes(self) -> int:
        """Working memory beside weights and cache."""
        if self.is_torch:  # keeps all buffers of a step, at the worst
            return 4 * sum(op.out.width for op in self.program.ops if hasattr(op, "out")) * self.max_num_tokens
        from inglenook.ops.native import memory_estimate

        sizes = (self.max_num_tokens, self.max_num_selected)
        threads = self.engine.threads or 1
        return memory_estimate(self.program, self.cache(1), *sizes, threads=threads) - self.kv_per_block

    def check_quantization(self) -> None:
        """Refuse a wish that would change nothing. Random weights have been drawn as wished."""
        wish = self.model.quantization
        matrices = self._tensors() if self.checkpoint.format == "dummy" else self._float_matrices()
        is_obeyed = any(self.format_of(tensor) == wish for tensor in matrices)
        if wish is not None and not is_obeyed:
            formats = ", ".join(self.matrix_bytes())
            raise ConfigError(
                f"quantization {wish} applies to 16- and 32-bit weights, and none of this checkpoint can be quantised: "
                f"its matrices are {formats}. Leave it out, or take the model's unquantised files.",
                param="quantization",
            )

    def make_executor(self, num_blocks: int, pool: ThreadPool | None = None) -> tuple[Executor, ThreadPool]:
        """`pool`: threads of another executor, to be shared with it."""
        sizes: dict[str, Any] = {
            "cache": self.cache(num_blocks),
            "max_num_tokens": self.max_num_tokens,
            "max_num_selected": self.max_num_selected,
            "threads": self.engine.threads or 1,
            "weight_format": self.format_of,
        }
        if self.is_torch:
            from inglenook.ops.sampling import ThreadPool
            from inglenook.ops.torch import TorchExecutor

            executor = TorchExecutor(self.program, self.checkpoint.tensors, **sizes)
            return executor, pool or ThreadPool(sizes["threads"])
        from inglenook.ops.native import NativeExecutor

        native = NativeExecutor(self.program, self.checkpoint.tensors, **sizes, isa=self.engine.isa, pool=pool)
        return native, native.pool

    def _float_matrices(self) -> list[HostTensor]:
        return [t for t in self._tensors() if len(t.shape) > 1 and is_float_encoding(t.encoding)]

    def _tensors(self) -> list[HostTensor]:
        """Those that the program uses, each once."""
        return [self.checkpoint.tensors[name] for name in self.program.weights]


def _in_words(num_parameters: int) -> str:
    return (
        f"{num_parameters / 1e9:.1f} billion parameters"
        if num_parameters >= 1e9
        else f"{num_parameters / 1e6:.0f} million parameters"
    )
