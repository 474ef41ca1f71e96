"""The nouns that cross layers: messages, requests, sampling parameters, deltas, usage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from inglenook.errors import InvalidRequestError

FinishReason = Literal["stop", "length", "tool_calls"]

# What a model may have defaults of its own for (generation_config.json); a request that gives one has its own.
MODEL_DEFAULTED = frozenset(("temperature", "top_p", "top_k", "min_p", "repetition_penalty"))

MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 64
MAX_CHOICES = 128


@dataclass(frozen=True)
class Message:
    """One turn of a conversation, already in the shape that chat templates take.

    `content` is text (parts joined by the dialect) or None, as with an assistant turn that only
    calls tools. `extra` holds what else the client sent and templates may read (`tool_calls`,
    `tool_call_id`, ...).
    """

    role: str
    content: str | None = None
    name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen and when to stop. Field names and meanings are vLLM's and OpenAI's.

    Order of application: logit bias and bans, penalties, temperature, min-p, top-k, top-p.
    Log-probabilities are of the model's own distribution, before any of these.
    """

    max_tokens: int | None = None  # None: up to the end of the context
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 or -1: off
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None: drawn for each request
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    logprobs: int | None = None  # None: none; k: the chosen token's and the k likeliest

    def validate(self) -> None:
        """Raise InvalidRequestError, naming the field, where a value is out of its range."""
        _check_range("temperature", self.temperature, 0.0, 2.0)
        _check_range("top_p", self.top_p, 0.0, 1.0, low_open=True)
        _check_range("min_p", self.min_p, 0.0, 1.0)
        _check_range("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _check_range("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _check_range("repetition_penalty", self.repetition_penalty, 0.0, 10.0, low_open=True)
        _check_at_least("top_k", self.top_k, -1)
        _check_at_least("min_tokens", self.min_tokens, 0)
        if self.max_tokens is not None:
            _check_at_least("max_tokens", self.max_tokens, 0)
            if self.min_tokens > self.max_tokens:
                raise InvalidRequestError(
                    f"min_tokens ({self.min_tokens}) is larger than max_tokens ({self.max_tokens}).",
                    param="min_tokens",
                )
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise InvalidRequestError("seed must fit a signed 64-bit integer.", param="seed")
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            raise InvalidRequestError(
                f"logprobs is {self.logprobs}; it must be between 0 and {MAX_LOGPROBS}.", param="logprobs"
            )
        if len(self.stop) > MAX_STOP_STRINGS:
            raise InvalidRequestError(
                f"{len(self.stop)} stop strings were given; at most {MAX_STOP_STRINGS} are allowed.", param="stop"
            )
        if any(text == "" for text in self.stop):
            raise InvalidRequestError("A stop string is empty; leave it out.", param="stop")
        for token_id, bias in self.logit_bias.items():
            _check_range(f"logit_bias[{token_id}]", bias, -100.0, 100.0, param="logit_bias")


def _check_range(
    name: str, value: float, low: float, high: float, *, low_open: bool = False, param: str | None = None
) -> None:
    is_low_enough = value > low if low_open else value >= low
    if math.isnan(value) or not is_low_enough or value > high:
        bracket = "(" if low_open else "["
        raise InvalidRequestError(f"{name} is {value}; it must be in {bracket}{low:g}, {high:g}].", param=param or name)


def _check_at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise InvalidRequestError(f"{name} is {value}; it must be at least {low}.", param=name)


@dataclass(frozen=True)
class Constraint:
    """What an answer must look like.

    `value` is the JSON Schema (an object, or a boolean), nothing for a JSON object of any kind, the regular
    expression, the list of choices, the grammar's text (Lark or GBNF), or the structural tag's object. `param` names
    the request field that it came from, for messages.
    """

    kind: Literal["json_schema", "json_object", "regex", "choice", "grammar", "structural_tag"]
    value: Any
    param: str


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. `parameters` is the JSON Schema of the object of its arguments.

    `definition` is what templates get: {"type": "function", "function": {...}} with all that the client sent.
    """

    name: str
    definition: Mapping[str, Any]
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_strict: bool = False


@dataclass(frozen=True)
class ToolUse:
    """Which tools there are, and which may or must be called. A named choice is "required" with one name allowed."""

    tools: tuple[Tool, ...] = ()
    mode: Literal["auto", "none", "required"] = "auto"
    allowed: frozenset[str] | None = None  # names; None: all of `tools`
    is_parallel: bool = True  # several calls in one answer

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """Those that this answer may call."""
        if self.mode == "none":
            return ()
        return tuple(tool for tool in self.tools if self.allowed is None or tool.name in self.allowed)


@dataclass(frozen=True)
class ReasoningOptions:
    """What becomes of a model's thinking. None: as the model's template has it."""

    effort: str | None = None  # a level that the template knows ("low", "medium", "high", ...)
    is_enabled: bool | None = None
    max_tokens: int | None = None  # of thinking; then it is ended
    is_separate: bool = True  # apart from the content
    is_included: bool = True  # in the answer at all


@dataclass(frozen=True)
class GenerateRequest:
    """What the two requests below share. `request_id` is the id that the client sees.

    `model_defaulted` names the fields of `sampling` that the client left to the model: of MODEL_DEFAULTED at most.
    `is_repaired`: whether the text is mended (text/repair.py) against `repair_keys`; None: as the server is set.
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


@dataclass(frozen=True)
class ChatRequest(GenerateRequest):
    messages: tuple[Message, ...] = ()
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tool_use: ToolUse = ToolUse()
    reasoning: ReasoningOptions = ReasoningOptions()
    documents: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class CompletionRequest(GenerateRequest):
    """Each prompt is text or token ids. Choice index = prompt index * num_choices + sample."""

    prompts: tuple[str | tuple[int, ...], ...] = ()
    echo: bool = False
    add_special_tokens: bool = True


@dataclass(frozen=True)
class TokenLogprob:
    """One token with the natural logarithm of its probability.

    `text` is the token's own text (replacement characters where it isn't whole UTF-8), `bytes` its bytes.
    `top` holds the likeliest alternatives, likeliest first, each without a `top` of its own.
    """

    token_id: int
    text: str
    bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # those of prompt_tokens that the prefix cache supplied

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True)
class ToolCallDelta:
    """A piece of one tool call. Its first piece has `id` and `name`; the `arguments` of all, joined, are JSON."""

    index: int  # of the call in its choice
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called. `arguments` is JSON, whole unless the finish reason is length."""

    id: str
    name: str
    arguments: str


def joined_calls(pieces: Iterable[ToolCallDelta]) -> list[ToolCall]:
    """The calls of one choice, in order."""
    calls: dict[int, list[ToolCallDelta]] = {}
    for piece in pieces:
        calls.setdefault(piece.index, []).append(piece)
    return [
        ToolCall(call[0].id or "", call[0].name or "", "".join(piece.arguments for piece in call))
        for _, call in sorted(calls.items())
    ]


@dataclass(frozen=True)
class Delta:
    """A piece of one choice of an answer. The pieces of a choice, joined, are its whole text.

    `text` is the answer's content; the model's thinking and its tool calls are apart from it.
    The last piece of a choice has `finish_reason`; the last piece of all has `usage`, the sum over choices.
    `stop_reason` says which stop string or stop token ended it (None for the model's own end of text).
    `warnings` say what was changed in the request so that it could be served; they come with the first piece.
    """

    index: int = 0
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    usage: Usage | None = None
    warnings: tuple[str, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """What a back end says of a model that it serves."""

    name: str
    created: int  # Unix time, s
    max_model_len: int
    root: str  # the name under which the model was loaded


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
