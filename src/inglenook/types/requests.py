"""Requests to generate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inglenook.types.messages import Constraint, Message, ReasoningOptions, ToolUse
from inglenook.types.pooling import TruncationSide
from inglenook.types.sampling import SamplingParams

MAX_CHOICES = 128

Prompt = str | tuple[int | str, ...]  # text; or token ids, between which texts may stand


@dataclass(frozen=True)
class SourceFile:
    """Of the code around a place: what a model is shown of another file."""

    name: str
    text: str


@dataclass(frozen=True)
class GenerateRequest:
    """What the two requests below share. `request_id` is unique among those that run.

    `model_defaulted` names the fields of `sampling` that the client left to the model: of MODEL_DEFAULTED at most.
    `received` is when it came in, time.monotonic(). Requests with different values of `cache_salt` share no cached
    prefix.
    `is_repaired`: whether the text is mended (text/repair.py) against `repair_keys`; None: as the server is set.
    `truncate_prompt_tokens` cuts prompts to so many tokens, dropping from `truncation_side`; -1: to what leaves room
    for the answer; None: a prompt that is too long is an error.
    `max_total_tokens` bounds the prompt and its answer together; None: the model's context does.
    """

    request_id: str
    model: str
    sampling: SamplingParams
    num_choices: int = 1
    priority: int = 0  # lower is served first
    model_defaulted: frozenset[str] = frozenset()
    constraint: Constraint | None = None
    is_repaired: bool | None = None
    repair_keys: tuple[str, ...] = ()
    truncate_prompt_tokens: int | None = None
    truncation_side: TruncationSide = "left"
    max_total_tokens: int | None = None
    cache_salt: str = ""
    received: float = field(default_factory=time.monotonic, compare=False)
    return_prompt_text: bool = False  # with the token ids of AnsweredPrompt


@dataclass(frozen=True)
class ChatRequest(GenerateRequest):
    messages: tuple[Message, ...] = ()
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tool_use: ToolUse = ToolUse()
    reasoning: ReasoningOptions = ReasoningOptions()
    documents: tuple[Mapping[str, Any], ...] = ()
    echo: bool = False  # the last message's text before the answer, if it is the answer's role that said it
    add_special_tokens: bool = False  # beside those that the template writes
    chat_template: str | None = None  # Jinja, in place of the model's


@dataclass(frozen=True)
class CompletionRequest(GenerateRequest):
    """Choice index = prompt index * num_choices + sample.

    With `best_of`, so many answers are made to each prompt, and the num_choices likeliest of them given. `suffix` is
    what is to stand behind the answer; with it, `files` come before all else.
    """

    prompts: tuple[Prompt, ...] = ()
    echo: bool = False
    best_of: int | None = None
    add_special_tokens: bool = True
    suffix: str | None = None
    files: tuple[SourceFile, ...] = ()
