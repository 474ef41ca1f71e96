"""From files to a running engine: open the checkpoints, plan the memory, pack the weights, put the parts together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.checkpoint.checkpoint import Checkpoint
from inglenook.config import EngineSettings, ModelSettings, Quantization, resolve
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.budget import StepBudget
from inglenook.engine.engine import Engine, Runner
from inglenook.engine.kv_cache import BlockPool
from inglenook.engine.loading import LoadingModel
from inglenook.engine.memory import AvailableMemory, available_memory
from inglenook.engine.open_model import open_model
from inglenook.engine.plan import DraftNeeds, MemoryNeeds, Plan, make_plan
from inglenook.engine.scheduler import Scheduler
from inglenook.engine.sharing import Claim
from inglenook.errors import ConfigError
from inglenook.models.registry import ModelConfig
from inglenook.ops.program import Program
from inglenook.ops.weights import KeptWeight

if TYPE_CHECKING:
    from inglenook.engine.model_runner import ModelRunner
    from inglenook.engine.speculative.draft_model import DraftModel
    from inglenook.engine.speculative.drafter import Drafter
    from inglenook.engine.speculative.speculator import Speculator
    from inglenook.ops.sampling import ThreadPool

QUANTIZATIONS: tuple[Quantization, ...] = ("q8", "q4")
MAX_SPECULATIVE_ROWS = 16  # of a step with drafts: by then no processor reads weights for longer than it multiplies

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedEngine:
    """A running engine. The checkpoints' tensors are packed and let go; their configs stay."""

    engine: AsyncEngine
    checkpoint: Checkpoint
    config: ModelConfig
    plan: Plan
    program: Program
    kept_weights: Mapping[str, KeptWeight]
    draft_checkpoint: Checkpoint | None = None
    draft_model: DraftModel | None = None


def load_engine(
    path: Path | None,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    draft_path: Path | None = None,
    available: AvailableMemory | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    instrument: Callable[[ModelRunner], Runner] | None = None,
) -> LoadedEngine:
    """Load the model at `path` (None: random weights, model.model is "dummy:SHAPE") and start its engine.

    `draft_path` is the same for the draft model, where engine.speculative_config names one. `available` is what it may
    take, where that isn't all there is. `on_plan` is called before anything large is allocated; `instrument` may put
    something that watches in the runner's place.
    Raises CheckpointError, UnsupportedModelError, ConfigError or OutOfMemoryError.
    """
    engine = resolve(engine)
    with ExitStack() as opened:
        target = _open_target(path, model, engine, opened)
        assert isinstance(target.config, ModelConfig)
        draft = _open_draft(draft_path, target, opened) if engine.speculative_config.model is not None else None
        plan = _plan(target, draft, available or available_memory())
        kept_weights = target.kept_weights()
        if on_plan is not None:
            on_plan(plan)
        runner, draft_model = _make_executors(target, draft, plan)
    pool = BlockPool(plan.num_blocks, plan.block_size, enable_prefix_caching=engine.enable_prefix_caching)
    scheduler = Scheduler(
        pool,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        max_num_selected=target.max_num_selected,
        context_length=plan.max_model_len,
        budget=StepBudget(),
        speculator=_make_speculator(target, draft_model),
    )
    core = Engine(runner if instrument is None else instrument(runner), scheduler, vocab_size=target.config.vocab_size)
    return LoadedEngine(
        AsyncEngine(core, max_queue=engine.max_queue),
        target.checkpoint,
        target.config,
        plan,
        target.program,
        kept_weights,
        None if draft is None else draft.checkpoint,
        draft_model,
    )


def read_claim(
    path: Path | None, model: ModelSettings, engine: EngineSettings, *, draft_path: Path | None = None
) -> Claim:
    """What load_engine would ask of the memory. Only headers are read; raises as it does."""
    engine = resolve(engine)
    with ExitStack() as opened:
        target = _open_target(path, model, engine, opened)
        draft = _open_draft(draft_path, target, opened) if engine.speculative_config.model is not None else None
        needs = _needs(target, draft)
    return Claim(model.model, engine, needs, model.max_model_len, target.config.max_position)


# --- opening ----------------------------------------------------------------------------------------


def _open_target(path: Path | None, model: ModelSettings, engine: EngineSettings, opened: ExitStack) -> LoadingModel:
    checkpoint, config, program = open_model(path, model)
    opened.callback(checkpoint.close)
    max_num_selected = min(max(engine.max_num_seqs, _max_speculative_rows(engine)), engine.max_num_batched_tokens)
    return LoadingModel(checkpoint, config, program, model, engine, engine.max_num_batched_tokens, max_num_selected)


def _open_draft(path: Path | None, target: LoadingModel, opened: ExitStack) -> LoadingModel:
    """The draft model: formats are asked for as with the model that it drafts for; its files are what they are."""
    from inglenook.engine.speculative.draft_model import MAX_STEP_TOKENS

    name = target.engine.speculative_config.model
    assert name is not None
    model = replace(target.model, model=name, load_format="auto", max_model_len=None)
    checkpoint, config, program = open_model(path, model)
    opened.callback(checkpoint.close)
    if config.vocab_size != target.config.vocab_size:
        raise ConfigError(
            f"speculative_config: the draft model {name} has a vocabulary of {config.vocab_size} tokens and "
            f"{target.model.model} one of {target.config.vocab_size}; a draft model must have the same vocabulary. "
            "Take a smaller model of the same family, or the method ngram, which needs none.",
            param="speculative_config",
        )
    return LoadingModel(checkpoint, config, program, model, target.engine, MAX_STEP_TOKENS, MAX_SPECULATIVE_ROWS)


def _max_speculative_rows(engine: EngineSettings) -> int:
    """Rows of a step with drafts, at most."""
    is_on = engine.speculative_config.method != "none"
    return min(MAX_SPECULATIVE_ROWS, engine.max_num_batched_tokens) if is_on else 0


# --- planning and packing ---------------------------------------------------------------------------


def _needs(target: LoadingModel, draft: LoadingModel | None) -> MemoryNeeds:
    target.check_quantization()
    weights = target.weight_bytes(target.model.quantization)
    smaller = {name: size for name in QUANTIZATIONS if (size := target.weight_bytes(name)) < weights}
    draft_needs = None
    if draft is not None:
        draft_weights = draft.weight_bytes(draft.model.quantization)
        draft_needs = DraftNeeds(draft.name, draft_weights, draft.activation_bytes(), draft.kv_per_block)
    return MemoryNeeds(weights, target.activation_bytes(), target.kv_per_block, smaller, draft_needs)


def _plan(target: LoadingModel, draft: LoadingModel | None, available: AvailableMemory) -> Plan:
    """Raises ConfigError or OutOfMemoryError, with what would fit."""
    return make_plan(
        target.engine,
        _needs(target, draft),
        available,
        max_model_len=target.model.max_model_len,
        model_max_len=target.config.max_position,
        model=target.name,
        weight_format=f"{target.checkpoint.format}, {' and '.join(target.matrix_bytes())} weights",
        kv_dtype=target.kv_dtype,
    )


def _make_executors(
    target: LoadingModel, draft: LoadingModel | None, plan: Plan
) -> tuple[ModelRunner, DraftModel | None]:
    from inglenook.engine.model_runner import ModelRunner

    with ExitStack() as on_failure:
        executor, pool = target.make_executor(plan.num_blocks)
        on_failure.callback(executor.close)
        draft_model = None if draft is None else _make_draft_model(draft, plan, pool)
        on_failure.pop_all()
    runner = ModelRunner(executor, vocab_size=target.config.vocab_size, pool=pool, seed=target.model.seed)
    return runner, draft_model


def _make_speculator(target: LoadingModel, draft_model: DraftModel | None) -> Speculator | None:
    engine, settings = target.engine, target.engine.speculative_config
    if settings.method == "none":
        return None
    from inglenook.engine.speculative.ngram import NgramDrafter
    from inglenook.engine.speculative.speculator import Speculator

    drafter: Drafter = draft_model or NgramDrafter(
        min_length=settings.prompt_lookup_min,
        max_length=settings.prompt_lookup_max,
        block_size=engine.block_size if engine.enable_prefix_caching else None,
    )
    max_rows = _max_speculative_rows(engine)
    return Speculator(drafter, max_rows=max_rows, max_draft_tokens=settings.num_speculative_tokens)


def _make_draft_model(draft: LoadingModel, plan: Plan, threads: ThreadPool) -> DraftModel:
    from inglenook.engine.speculative.draft_cache import DraftCache
    from inglenook.engine.speculative.draft_model import DraftModel

    context_length = min(plan.max_model_len, draft.config.max_position)
    if context_length < plan.max_model_len:
        logger.info(
            "The draft model's context is %d tokens: sequences of more, up to %d, go on without drafts.",
            context_length,
            plan.max_model_len,
        )
    executor, _ = draft.make_executor(plan.num_blocks, threads)
    engine = draft.engine
    pool = BlockPool(plan.num_blocks, plan.block_size, enable_prefix_caching=engine.enable_prefix_caching)
    cache = DraftCache(pool, max_num_seqs=engine.max_num_seqs, context_length=context_length)
    return DraftModel(executor, cache)
