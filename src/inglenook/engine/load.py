"""From files to a running engine: open the checkpoint, record the program, plan the memory, pack the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inglenook.checkpoint.checkpoint import (
    Checkpoint,
    open_checkpoint,
    open_dummy,
    read_config_json,
    unused_tensors,
)
from inglenook.checkpoint.dummy import DummyEncoding, dummy_config, parse_dummy
from inglenook.config import EngineSettings, KVCacheDType, ModelSettings, Quantization, resolve
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.budget import StepBudget
from inglenook.engine.engine import Engine, Runner
from inglenook.engine.kv_cache import BlockPool
from inglenook.engine.memory import available_memory
from inglenook.engine.plan import MemoryNeeds, Plan, make_plan
from inglenook.engine.scheduler import Scheduler
from inglenook.errors import CheckpointError, ConfigError
from inglenook.models.registry import ModelConfig, build_program, read_config
from inglenook.ops.program import CacheDType, CacheSpec, Executor, Program, kv_bytes_per_block
from inglenook.ops.weights import (
    FLOAT_FORMATS,
    HostTensor,
    KeptWeight,
    WeightFormat,
    is_float_encoding,
    packed_nbytes,
    storage_format,
)

if TYPE_CHECKING:
    from inglenook.engine.model_runner import ModelRunner
    from inglenook.engine.speculative.speculator import Speculator
    from inglenook.ops.sampling import ThreadPool

KV_CACHE_FORMATS: dict[KVCacheDType, CacheDType] = {
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "q8": "q8",
}
QUANTIZATIONS: tuple[Quantization, ...] = ("q8", "q4")
MAX_NAMED_TENSORS = 5  # in an error
MAX_SPECULATIVE_ROWS = 16  # of a step with drafts: by then no processor reads weights for longer than it multiplies


@dataclass(frozen=True)
class LoadedEngine:
    """A running engine. The checkpoint's tensors are packed and let go; its config stays."""

    engine: AsyncEngine
    checkpoint: Checkpoint
    config: ModelConfig
    plan: Plan
    program: Program
    kept_weights: Mapping[str, KeptWeight]


def load_engine(
    path: Path | None,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    on_plan: Callable[[Plan], None] | None = None,
    instrument: Callable[[ModelRunner], Runner] | None = None,
) -> LoadedEngine:
    """Load the model at `path` (None: random weights, model.model is "dummy:SHAPE") and start its engine.

    `on_plan` is called before anything large is allocated; `instrument` may put something that watches in the runner's
    place. Raises CheckpointError, UnsupportedModelError, ConfigError or OutOfMemoryError.
    """
    engine = resolve(engine)
    checkpoint, config, program = _open(path, model)
    try:
        loading = _Loading(checkpoint, config, program, model, engine)
        speculator = loading.make_speculator()
        plan = loading.plan()
        kept_weights = loading.kept_weights()
        if on_plan is not None:
            on_plan(plan)
        runner = loading.make_runner(plan)
    finally:
        checkpoint.close()
    pool = BlockPool(plan.num_blocks, plan.block_size, enable_prefix_caching=engine.enable_prefix_caching)
    scheduler = Scheduler(
        pool,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        context_length=plan.max_model_len,
        budget=StepBudget(),
        speculator=speculator,
    )
    core = Engine(runner if instrument is None else instrument(runner), scheduler, vocab_size=config.vocab_size)
    running = AsyncEngine(core, max_queue=engine.max_queue)
    return LoadedEngine(running, checkpoint, config, plan, program, kept_weights)


# --- opening ----------------------------------------------------------------------------------------


def _open(path: Path | None, model: ModelSettings) -> tuple[Checkpoint, ModelConfig, Program]:
    if path is None or model.load_format == "dummy":
        return _open_dummy(path, model)
    checkpoint = open_checkpoint(path, load_format=model.load_format)
    try:
        config = read_config(checkpoint.config, format=checkpoint.format, tensors=checkpoint.tensors)
        program = build_program(config)
        _check_tensors(checkpoint, program)
    except BaseException:
        checkpoint.close()
        raise
    return checkpoint, config, program


def _open_dummy(path: Path | None, model: ModelSettings) -> tuple[Checkpoint, ModelConfig, Program]:
    encoding: DummyEncoding | None = None
    if path is None:
        shape, encoding = parse_dummy(model.model.removeprefix("dummy:"))
        values = dummy_config(shape)
    elif path.is_dir():
        values = read_config_json(path)
    else:
        raise ConfigError(
            f"Random weights need a folder with config.json or dummy:SHAPE; {path.name} is a file.", param="load_format"
        )
    config = read_config(values, format="dummy")
    program = build_program(config)
    return open_dummy(values, program.weights, encoding or _dummy_encoding(model), model.seed or 0), config, program


def _dummy_encoding(model: ModelSettings) -> DummyEncoding:
    """Random weights are drawn in the format that is asked for; 4 bits where none is."""
    return "q8_0" if model.quantization == "q8" else FLOAT_FORMATS.get(model.dtype, "q4_0")


def _check_tensors(checkpoint: Checkpoint, program: Program) -> None:
    """Every weight of the program is there, and every tensor is used."""
    missing = [name for name in program.weights if name not in checkpoint.tensors]
    if missing:
        raise CheckpointError(
            f"The checkpoint lacks {len(missing)} weights that the model needs: {_some(missing)}. "
            "Its files are incomplete, or it is another kind of model than its configuration says."
        )
    unused = unused_tensors(checkpoint, program.weights.keys())
    if unused:
        raise CheckpointError(
            f"The checkpoint holds {len(unused)} tensors that the model as its configuration describes it doesn't use: "
            f"{_some(unused)}. It would give wrong answers without them, so it isn't loaded."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED_TENSORS]) + (", ..." if len(names) > MAX_NAMED_TENSORS else "")


# --- planning and packing ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loading:
    checkpoint: Checkpoint
    config: ModelConfig
    program: Program
    model: ModelSettings
    engine: EngineSettings

    @property
    def is_torch(self) -> bool:
        return self.engine.device == "torch"

    @property
    def max_num_selected(self) -> int:
        return min(max(self.engine.max_num_seqs, self.max_speculative_rows), self.engine.max_num_batched_tokens)

    @property
    def max_speculative_rows(self) -> int:
        """Rows of a step with drafts, at most."""
        is_on = self.engine.speculative_config.method != "none"
        return min(MAX_SPECULATIVE_ROWS, self.engine.max_num_batched_tokens) if is_on else 0

    def format_of(self, tensor: HostTensor) -> WeightFormat:
        return storage_format(tensor, self.model.dtype, self.model.quantization)

    def cache(self, num_blocks: int) -> CacheSpec:
        return CacheSpec(num_blocks, self.engine.block_size, self.kv_dtype)

    @property
    def kv_dtype(self) -> CacheDType:
        """auto: 16 bits, and 32 where the weights have 32, since then precision was asked for."""
        if self.engine.kv_cache_dtype != "auto":
            return KV_CACHE_FORMATS[self.engine.kv_cache_dtype]
        return "f32" if self.matrix_bytes().keys() == {"f32"} else "bf16"

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

    def plan(self) -> Plan:
        """Raises ConfigError or OutOfMemoryError, with what would fit."""
        self._check_quantization()
        return make_plan(
            self.engine,
            self.needs(),
            available_memory(),
            max_model_len=self.model.max_model_len,
            model_max_len=self.config.max_position,
            model=f"{self.model.model} ({self.config.architecture}, {_in_words(self.config.num_parameters)})",
            weight_format=f"{self.checkpoint.format}, {' and '.join(self.matrix_bytes())} weights",
            kv_dtype=self.kv_dtype,
        )

    def _check_quantization(self) -> None:
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

    def _float_matrices(self) -> list[HostTensor]:
        return [t for t in self._tensors() if len(t.shape) > 1 and is_float_encoding(t.encoding)]

    def needs(self) -> MemoryNeeds:
        weights = self.weight_bytes(self.model.quantization)
        smaller = {name: size for name in QUANTIZATIONS if (size := self.weight_bytes(name)) < weights}
        kv_per_block = kv_bytes_per_block(self.program, self.cache(1))
        return MemoryNeeds(weights, self._activation_bytes(kv_per_block), kv_per_block, smaller)

    def _activation_bytes(self, kv_per_block: int) -> int:
        max_num_tokens = self.engine.max_num_batched_tokens
        if self.is_torch:  # keeps all buffers of a step, at the worst
            return 4 * sum(op.out.width for op in self.program.ops if hasattr(op, "out")) * max_num_tokens
        from inglenook.ops.native import memory_estimate

        threads = self.engine.threads or 1
        num_bytes = memory_estimate(self.program, self.cache(1), max_num_tokens, self.max_num_selected, threads=threads)
        return num_bytes - kv_per_block

    def make_runner(self, plan: Plan) -> ModelRunner:
        from inglenook.engine.model_runner import ModelRunner

        executor, pool = self._make_executor(plan)
        return ModelRunner(executor, vocab_size=self.config.vocab_size, pool=pool, seed=self.model.seed)

    def make_speculator(self) -> Speculator | None:
        settings = self.engine.speculative_config
        if settings.method == "none":
            return None
        if settings.method == "draft_model":
            raise ConfigError("Draft models can't be run yet; the method ngram needs none.", param="speculative_config")
        from inglenook.engine.speculative.ngram import NgramDrafter
        from inglenook.engine.speculative.speculator import Speculator

        drafter = NgramDrafter(
            min_length=settings.prompt_lookup_min,
            max_length=settings.prompt_lookup_max,
            block_size=self.engine.block_size if self.engine.enable_prefix_caching else None,
        )
        return Speculator(drafter, max_rows=self.max_speculative_rows, max_draft_tokens=settings.num_speculative_tokens)

    def _make_executor(self, plan: Plan) -> tuple[Executor, ThreadPool]:
        sizes: dict[str, Any] = {
            "cache": self.cache(plan.num_blocks),
            "max_num_tokens": self.engine.max_num_batched_tokens,
            "max_num_selected": self.max_num_selected,
            "threads": self.engine.threads or 1,
            "weight_format": self.format_of,
        }
        if self.is_torch:
            from inglenook.ops.sampling import ThreadPool
            from inglenook.ops.torch import TorchExecutor

            return TorchExecutor(self.program, self.checkpoint.tensors, **sizes), ThreadPool(sizes["threads"])
        from inglenook.ops.native import NativeExecutor

        executor = NativeExecutor(self.program, self.checkpoint.tensors, **sizes, isa=self.engine.isa)
        return executor, executor.pool

    def _tensors(self) -> list[HostTensor]:
        """Those that the program uses, each once."""
        return [self.checkpoint.tensors[name] for name in self.program.weights]


def _in_words(num_parameters: int) -> str:
    return (
        f"{num_parameters / 1e9:.1f} billion parameters"
        if num_parameters >= 1e9
        else f"{num_parameters / 1e6:.0f} million parameters"
    )
