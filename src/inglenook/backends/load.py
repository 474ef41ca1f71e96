"""From a model's files to the back end that does what the model is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from inglenook.backends.base import Backend
from inglenook.backends.local import Files, load_local_backend
from inglenook.config import EngineSettings, ModelSettings

if TYPE_CHECKING:
    from inglenook.engine.plan import Plan


def load_backend(
    files: Files,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    draft: Files | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> Backend:
    """Load a model and start its engine. `draft` are the files of engine.speculative_config.model, if it names one.

    Raises CheckpointError, UnsupportedModelError, OutOfMemoryError or ConfigError where that can't be.
    """
    return load_local_backend(files, model, engine, draft=draft, on_plan=on_plan)
