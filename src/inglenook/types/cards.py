"""What a back end says of its models, and shows of what they would be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Task = Literal["generate", "embed", "score", "classify"]

# What messages say that a model of each task does.
DOES: Mapping[Task, str] = {
    "generate": "generates text",
    "embed": "makes embeddings",
    "score": "scores pairs of texts",
    "classify": "sorts texts into classes",
}


@dataclass(frozen=True)
class ModelDetails:
    """What is known of a model's files and of what it does; empty and 0 where it isn't known.

    `sizes` are under GGUF's names, without the architecture in front: context_length, embedding_length, block_count and
    others. `sampling` is what its makers recommend.
    """

    format: str = ""
    architecture: str = ""
    quantization: str = ""  # Q4_K_M, BF16, ...
    num_parameters: int = 0
    num_bytes: int = 0  # of the files
    modified: float = 0.0  # of the files; Unix time, s
    sizes: Mapping[str, int] = field(default_factory=dict)
    license: str = ""
    template: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    is_thinking: bool = False
    fills_middle: bool = False
    is_drafted: bool = False  # tokens are guessed ahead, and checked together
    special_tokens: Mapping[str, str] = field(default_factory=dict)  # bos_token, eos_token, ... where there are any


@dataclass(frozen=True)
class ModelCard:
    """What a back end says of a model that it serves."""

    name: str
    created: int  # Unix time, s
    max_model_len: int
    root: str  # the name under which the model was loaded
    task: Task = "generate"
    max_requests: int = 1  # at a time, those that wait included
    details: ModelDetails = field(default=ModelDetails(), compare=False)
    max_running: int = 1  # of the requests, at most


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
