"""From files to a running pooling engine: open, plan the memory, pack the weights, put the parts together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from inglenook.checkpoint.checkpoint import Checkpoint
from inglenook.config import EngineSettings, ModelSettings, resolve
from inglenook.engine.loading import LoadingModel
from inglenook.engine.memory import AvailableMemory, available_memory
from inglenook.engine.open_pooling import PoolingModel, open_pooling_model
from inglenook.engine.plan import Plan
from inglenook.engine.pooling import PoolingEngine, PoolingLimits
from inglenook.engine.pooling_plan import PoolingNeeds, make_pooling_plan, step_sizes
from inglenook.engine.pooling_queue import PoolingQueue
from inglenook.engine.pooling_runner import PoolingModelRunner
from inglenook.models.encoder_config import EncoderConfig
from inglenook.models.encoders import PoolingTask
from inglenook.models.model_config import ModelConfig
from inglenook.models.pooling import PoolingConfig
from inglenook.ops.program import Program
from inglenook.ops.weights import KeptWeight


@dataclass(frozen=True)
class LoadedPoolingEngine:
    """A running engine. The checkpoint's tensors are packed and let go; its config stays.

    `pooling` is None where the rows are a classifier's logits; `width` is that of a row.
    """

    engine: PoolingEngine
    checkpoint: Checkpoint
    config: ModelConfig | EncoderConfig
    plan: Plan
    program: Program
    task: PoolingTask
    pooling: PoolingConfig | None
    kept_weights: Mapping[str, KeptWeight]

    @property
    def max_model_len(self) -> int:
        return self.plan.max_model_len

    @property
    def width(self) -> int:
        assert self.program.output is not None
        return self.program.output.width


def load_pooling_engine(
    path: Path | None,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    on_plan: Callable[[Plan], None] | None = None,
) -> LoadedPoolingEngine:
    """Load the model at `path` (None: random weights, model.model is "dummy:SHAPE") and start its engine.

    `on_plan` is called before anything large is allocated.
    Raises CheckpointError, UnsupportedModelError, ConfigError or OutOfMemoryError.
    """
    engine = resolve(engine)
    with ExitStack() as opened:
        found, loading = _open(path, model, engine, opened)
        program = found.program
        plan = _plan(found, loading, available_memory())
        kept_weights = loading.kept_weights()
        if on_plan is not None:
            on_plan(plan)
        sizes = step_sizes(engine, program.needs_whole_sequences, plan.max_model_len)
        loading = replace(loading, max_num_tokens=sizes.max_num_tokens)
        executor, _ = loading.make_executor(plan.num_blocks)
    queue = PoolingQueue(
        max_num_tokens=sizes.max_num_tokens,
        max_num_seqs=loading.max_num_selected,
        num_blocks=plan.num_blocks,
        block_size=plan.block_size,
        in_chunks=not program.needs_whole_sequences,
    )
    running = PoolingEngine(
        PoolingModelRunner(executor, has_token_types=program.num_token_types > 1),
        queue,
        PoolingLimits(plan.max_model_len, found.config.vocab_size, program.num_token_types),
        max_queue=engine.max_queue,
    )
    return LoadedPoolingEngine(
        running, found.checkpoint, found.config, plan, program, found.task, found.pooling, kept_weights
    )


def plan_pooling(path: Path | None, model: ModelSettings, engine: EngineSettings, available: AvailableMemory) -> Plan:
    """What `load_pooling_engine` would take of this memory. Raises as it does."""
    with ExitStack() as opened:
        return _plan(*_open(path, model, resolve(engine), opened), available)


def _open(
    path: Path | None, model: ModelSettings, engine: EngineSettings, opened: ExitStack
) -> tuple[PoolingModel, LoadingModel]:
    found = open_pooling_model(path, model)
    opened.callback(found.checkpoint.close)
    max_num_selected = min(engine.max_num_seqs, engine.max_num_batched_tokens)
    loading = LoadingModel(
        found.checkpoint, found.config, found.program, model, engine, engine.max_num_batched_tokens, max_num_selected
    )
    loading.check_quantization()
    is_small = found.program.needs_whole_sequences  # a step's keys and values, of one layer
    if is_small and engine.kv_cache_dtype == "auto" and loading.matrix_bytes().keys() <= {"f32", "f16"}:
        loading = replace(loading, engine=replace(engine, kv_cache_dtype="float32"))  # no less precise than the weights
    return found, loading


def _plan(found: PoolingModel, loading: LoadingModel, available: AvailableMemory) -> Plan:
    needs = PoolingNeeds(
        loading.weight_bytes(loading.model.quantization),
        lambda num_tokens: replace(loading, max_num_tokens=num_tokens).activation_bytes(),
        loading.kv_per_block,
        found.program.needs_whole_sequences,
    )
    return make_pooling_plan(
        loading.engine,
        needs,
        available,
        max_model_len=loading.model.max_model_len,
        own_length=found.max_length,
        longest=found.config.max_position,
        model=loading.name,
        weight_format=f"{found.checkpoint.format}, {' and '.join(loading.matrix_bytes())} weights",
        kv_dtype=loading.kv_dtype,
    )
