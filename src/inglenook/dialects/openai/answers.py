"""Deltas, errors and model cards -> OpenAI's JSON: what the routes share."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from inglenook.dialects.openai import wire
from inglenook.dialects.openai.usage import UsageSoFar, timings_body, usage_body
from inglenook.dialects.openai.wanted import Wanted
from inglenook.errors import InglenookError
from inglenook.types import (
    AnsweredPrompt,
    Delta,
    FinishReason,
    ModelCard,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

DONE = b"[DONE]"  # the last event of a stream, after an error too

_MIN_LOGPROB = -9999.0  # JSON has no infinity; vLLM writes the same
_MAX_MESSAGE_CHARS = 2000
encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class AnswerHead:
    """What every chunk of an answer repeats, and what it says once of the request. `created` is Unix time, s."""

    id: str
    created: int
    model: str
    fingerprint: str
    warnings: tuple[str, ...] = ()
    wanted: Wanted = Wanted()
    num_choices: int = 1  # of each prompt

    @property
    def service_tier(self) -> wire.ServiceTier | UnsetType:
        return "default" if self.wanted.service_tier else UNSET


@dataclass
class Choice:
    """One choice of an answer that isn't streamed, put together from its deltas."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCallDelta] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)  # the hidden ones too
    prompt: AnsweredPrompt = AnsweredPrompt(())
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None

    def ending(self) -> FinishReason:
        assert self.finish_reason is not None, "a choice without an end"
        return self.finish_reason


def new_id(prefix: str) -> str:
    """A request id such as chatcmpl-0123456789abcdef01234567."""
    return f"{prefix}-{secrets.token_hex(12)}"


# --- errors and models ----------------------------------------------------------------------------


def error_body(error: InglenookError) -> bytes:
    message = error.message
    if len(message) > _MAX_MESSAGE_CHARS:
        message = message[: _MAX_MESSAGE_CHARS - 3] + "..."
    return encode_json(wire.ErrorBody(wire.ErrorDetail(message, error.type, error.param, error.code)))


def model_body(card: ModelCard) -> bytes:
    return encode_json(_model(card))


def model_list_body(cards: Iterable[ModelCard]) -> bytes:
    return encode_json(wire.ModelList("list", [_model(card) for card in cards]))


def _model(card: ModelCard) -> wire.ModelBody:
    return wire.ModelBody(card.name, "model", card.created, "inglenook", card.root, card.max_model_len, card.task)


# --- whole answers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gathered:
    choices: list[tuple[int, Choice]]  # by index
    usage: Usage
    warnings: tuple[str, ...]
    timings: Timings | None


def gather(deltas: Iterable[Delta]) -> Gathered:
    """The choices of an answer from all of its deltas."""
    choices: dict[int, Choice] = {}
    usage = Usage()
    warnings: tuple[str, ...] = ()
    timings: Timings | None = None
    for delta in deltas:
        choice = choices.setdefault(delta.index, Choice())
        choice.texts.append(delta.text)
        choice.reasoning.append(delta.reasoning)
        choice.calls.extend(delta.tool_calls)
        choice.logprobs.extend(delta.logprobs)
        choice.token_ids += (*delta.token_ids, *delta.hidden_ids)
        choice.prompt = delta.prompt or choice.prompt
        if delta.finish_reason is not None:
            choice.finish_reason, choice.stop_reason = delta.finish_reason, delta.stop_reason
        usage = delta.usage or usage
        timings = delta.timings or timings
        warnings += delta.warnings
    return Gathered(sorted(choices.items()), usage, warnings, timings)


# --- streams: each method returns the data of the events to send, in order --------------------------


class Stream:
    """What the streams of both routes share: all but what a delta becomes. Warnings come with the first chunk."""

    _body: type[wire.ChatChunk] | type[wire.CompletionChunk]  # of a chunk: the two begin with the same fields
    _object: Any

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._wanted = head.wanted
        self._counted = UsageSoFar(head.num_choices)
        self._warnings = head.warnings

    def end(self) -> list[bytes]:
        return [encode_json(self._chunk(None, self._counted.num_generated)), DONE] if self._wanted.usage else [DONE]

    def fail(self, error: InglenookError) -> list[bytes]:
        return [error_body(error), DONE]

    def _see(self, delta: Delta) -> None:
        self._counted.see(delta)
        self._warnings += delta.warnings

    def _take_warnings(self) -> list[str] | UnsetType:
        warnings, self._warnings = self._warnings, ()
        return warnings_body(warnings)

    def _chunk(self, choice: Any, num_generated: int, timings: Timings | None = None) -> Any:
        """`num_generated` are the tokens so far; `choice` is None in the chunk that tells the usage of the whole."""
        head, wanted = self._head, self._wanted
        usage: wire.UsageBody | UnsetType | None = None if wanted.usage else UNSET
        if wanted.continuous_usage or choice is None:
            usage = usage_body(self._counted.usage(num_generated), has_details=wanted.usage_details)
        told_timings: wire.TimingsBody | UnsetType = UNSET
        if timings is not None and wanted.timings:
            told_timings = timings_body(self._counted.usage(num_generated), timings)
        return self._body(
            head.id,
            self._object,
            head.created,
            head.model,
            head.fingerprint,
            [] if choice is None else [choice],
            usage,
            head.service_tier,
            self._take_warnings(),
            told_timings,
        )


# --- parts ----------------------------------------------------------------------------------------


def warnings_body(warnings: Sequence[str]) -> list[str] | UnsetType:
    return list(warnings) or UNSET


def answer_timings(usage: Usage, timings: Timings | None, wanted: Wanted) -> wire.TimingsBody | UnsetType:
    return UNSET if timings is None or not wanted.timings else timings_body(usage, timings)


def prompt_fields(prompt: AnsweredPrompt, wanted: Wanted) -> tuple[Sequence[int] | UnsetType, str | UnsetType]:
    """The token ids of a prompt, and its text."""
    text = UNSET if prompt.text is None or not wanted.prompt_text else prompt.text
    return prompt.token_ids if wanted.token_ids else UNSET, text


def token_text(token: TokenLogprob, wanted: Wanted) -> str:
    """Of an entry of log-probabilities. Different tokens may have the same text, but not the same id."""
    return f"token_id:{token.token_id}" if wanted.tokens_as_ids else token.text


def finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _MIN_LOGPROB
