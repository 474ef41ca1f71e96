"""From models' files to the back ends that do what the models are for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inglenook.backends.base import Backend
from inglenook.backends.load_local import claim_local_backend, load_local_backend
from inglenook.backends.model_files import Files
from inglenook.config import EngineSettings, ModelSettings
from inglenook.errors import ConfigError

if TYPE_CHECKING:
    from inglenook.engine.memory import AvailableMemory
    from inglenook.engine.plan import Plan


@dataclass(frozen=True)
class WantedModel:
    """A model that is to be served. `draft` are the files of engine.speculative_config.model, if it names one."""

    files: Files
    model: ModelSettings
    engine: EngineSettings
    draft: Files | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Under which clients ask for it."""
        return self.model.served_model_name or (self.files.name,)


def load_backends(
    wanted: Sequence[WantedModel],
    *,
    on_plan: Callable[[Plan, EngineSettings], None] | None = None,
    on_loaded: Callable[[Backend], None] | None = None,
) -> list[Backend]:
    """Load the models one after another, each within its share of the memory: shares are made before the first loads.

    Raises what `load_backend` raises.
    """
    backends: list[Backend] = []
    try:
        for one, available in zip(wanted, _shares(wanted), strict=True):
            print_plan = None if on_plan is None else _with_settings(on_plan, one.engine)
            backend = load_backend(
                one.files, one.model, one.engine, draft=one.draft, available=available, on_plan=print_plan
            )
            backends.append(backend)
            if on_loaded is not None:
                on_loaded(backend)
    except BaseException:
        for backend in backends:
            asyncio.run(backend.close())
        raise
    return backends


def load_backend(
    files: Files,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    draft: Files | None = None,
    available: AvailableMemory | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> Backend:
    """Load a model and start its engine. `draft` are the files of engine.speculative_config.model, if it names one.

    `available` is the memory that it may take, where that isn't all there is.
    Raises CheckpointError, UnsupportedModelError, OutOfMemoryError or ConfigError where that can't be.
    """
    if not _is_pooled(files, model):
        return load_local_backend(files, model, engine, draft=draft, available=available, on_plan=on_plan)
    from inglenook.backends.pooling import load_pooling_backend

    if draft is not None:
        raise ConfigError(
            f"speculative_config: {files.name} generates no text, so there is nothing to draft. Leave the draft out.",
            param="speculative_config",
        )
    return load_pooling_backend(files, model, engine, on_plan=on_plan)


def _is_pooled(files: Files, model: ModelSettings) -> bool:
    from inglenook.engine.open_pooling import task_of

    return task_of(files.path, model) != "generate"


def _shares(wanted: Sequence[WantedModel]) -> Sequence[AvailableMemory | None]:
    """A single model takes what there is when it loads; a model that makes vectors or scores what it needs, which is
    the same however much there is. The others share what is left."""
    if len(wanted) == 1:
        return [None]
    from inglenook.engine.load_pooling import plan_pooling
    from inglenook.engine.memory import available_memory
    from inglenook.engine.sharing import share_memory

    left = available_memory()
    claims = {}
    for index, one in enumerate(wanted):
        if _is_pooled(one.files, one.model):
            plan = plan_pooling(one.files.path, replace(one.model, model=one.files.name), one.engine, left)
            left = replace(left, num_bytes=left.num_bytes - plan.total)
        else:
            claims[index] = claim_local_backend(one.files, one.model, one.engine, draft=one.draft)
    shares = dict(zip(claims, share_memory(list(claims.values()), left), strict=True))
    return [shares.get(index) for index in range(len(wanted))]


def _with_settings(on_plan: Callable[[Plan, EngineSettings], None], engine: EngineSettings) -> Callable[[Plan], None]:
    return lambda plan: on_plan(plan, engine)
