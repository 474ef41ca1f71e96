"""inglenook: one local server for every model an agent talks to.

`from inglenook import LLM` runs a model in this process; everything is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inglenook.llm import LLM, Classification, Completion
    from inglenook.types import SamplingParams

__version__ = "0.1.0"
__all__ = ["LLM", "Classification", "Completion", "SamplingParams", "__version__"]

_HOMES = {
    "LLM": "inglenook.llm",
    "Classification": "inglenook.llm",
    "Completion": "inglenook.llm",
    "SamplingParams": "inglenook.types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'inglenook' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
