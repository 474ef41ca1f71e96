"""One kind of work whose speed is measured, and the settings that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject


@dataclass(frozen=True)
class Workload:
    """`model` and `engine` are fields of ModelSettings and EngineSettings; those who agree in them share an engine.

    A long one takes half a minute or more and is run only where it is asked for.
    """

    name: str
    measure: Callable[[Subject], Figure]
    model: Mapping[str, Any] = field(default_factory=lambda: {"max_model_len": 1024})
    engine: Mapping[str, Any] = field(default_factory=dict)
    is_long: bool = False
