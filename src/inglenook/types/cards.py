"""What a back end says of its models, and shows of what they would be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Task = Literal["generate", "embed", "score"]

# What messages say that a model of each task does.
DOES: Mapping[Task, str] = {
    "generate": "generates text",
    "embed": "makes embeddings",
    "score": "scores pairs of texts",
}


@dataclass(frozen=True)
class ModelCard:
    """What a back end says of a model that it serves."""

    name: str
    created: int  # Unix time, s
    max_model_len: int
    root: str  # the name under which the model was loaded
    task: Task = "generate"
    max_requests: int = 1  # at a time, those that wait included


@dataclass(frozen=True)
class PromptToken:
    """A token of a prompt. `name` is as the vocabulary spells it; `start` and `end` are characters of the text."""

    token_id: int
    name: str
    bytes: bytes
    start: int
    end: int


@dataclass(frozen=True)
class RenderedPrompt:
    """What a model would be given for a request. `warnings` say what was changed in it; `tokens` are there if asked."""

    text: str
    token_ids: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    tokens: tuple[PromptToken, ...] = ()
