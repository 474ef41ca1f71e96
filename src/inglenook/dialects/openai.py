"""Deltas, errors and model cards -> OpenAI's JSON: what both routes share, and the older one, completions."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from inglenook.dialects import openai_wire as wire
from inglenook.errors import InglenookError
from inglenook.types import Delta, FinishReason, ModelCard, TokenLogprob, ToolCallDelta, Usage

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


@dataclass
class Choice:
    """One choice of an answer that isn't streamed, put together from its deltas."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCallDelta] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None


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


def completion_body(head: AnswerHead, deltas: Iterable[Delta], *, has_logprobs: bool) -> bytes:
    answer = gather(deltas)
    return encode_json(
        wire.Completion(
            head.id,
            "text_completion",
            head.created,
            head.model,
            head.fingerprint,
            [
                wire.CompletionChoice(
                    index,
                    "".join(choice.texts),
                    _completion_logprobs(choice.logprobs, 0) if has_logprobs else None,
                    choice.finish_reason,
                    choice.stop_reason,
                )
                for index, choice in answer.choices
            ],
            usage_body(answer.usage),
            warnings_body((*head.warnings, *answer.warnings)),
        )
    )


@dataclass(frozen=True)
class Gathered:
    choices: list[tuple[int, Choice]]  # by index
    usage: Usage
    warnings: tuple[str, ...]


def gather(deltas: Iterable[Delta]) -> Gathered:
    """The choices of an answer from all of its deltas."""
    choices: dict[int, Choice] = {}
    usage = Usage()
    warnings: tuple[str, ...] = ()
    for delta in deltas:
        choice = choices.setdefault(delta.index, Choice())
        choice.texts.append(delta.text)
        choice.reasoning.append(delta.reasoning)
        choice.calls.extend(delta.tool_calls)
        choice.logprobs.extend(delta.logprobs)
        if delta.finish_reason is not None:
            choice.finish_reason, choice.stop_reason = delta.finish_reason, delta.stop_reason
        usage = delta.usage or usage
        warnings += delta.warnings
    return Gathered(sorted(choices.items()), usage, warnings)


# --- streams: each method returns the data of the events to send, in order --------------------------


class Stream:
    """What the streams of both routes share: all but what a delta becomes. Warnings come with the first chunk."""

    _body: type[wire.ChatChunk] | type[wire.Completion]  # of a chunk: the two begin and end with the same fields
    _object: Any

    def __init__(self, head: AnswerHead, *, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._usage = Usage()
        self._warnings = head.warnings

    def end(self) -> list[bytes]:
        return [self._chunk(None, usage_body(self._usage)), DONE] if self._include_usage else [DONE]

    def fail(self, error: InglenookError) -> list[bytes]:
        return [error_body(error), DONE]

    def _see(self, delta: Delta) -> None:
        self._usage = delta.usage or self._usage
        self._warnings += delta.warnings

    def _take_warnings(self) -> list[str] | UnsetType:
        warnings, self._warnings = self._warnings, ()
        return warnings_body(warnings)

    def _chunk(self, choice: Any, usage: wire.UsageBody | None = None) -> bytes:
        head = self._head
        return encode_json(
            self._body(
                head.id,
                self._object,
                head.created,
                head.model,
                head.fingerprint,
                [] if choice is None else [choice],
                usage if self._include_usage else UNSET,
                self._take_warnings(),
            )
        )


class CompletionStream(Stream):
    """Chunks of one answer on the older route: one for each delta that says something."""

    _body = wire.Completion
    _object = "text_completion"

    def __init__(self, head: AnswerHead, *, include_usage: bool) -> None:
        super().__init__(head, include_usage=include_usage)
        self._text_offsets: dict[int, int] = {}

    def encode(self, delta: Delta) -> list[bytes]:
        self._see(delta)
        if not (delta.text or delta.logprobs or delta.finish_reason):
            return []
        choice = wire.CompletionChoice(delta.index, delta.text, None, delta.finish_reason)
        if delta.logprobs:
            offset = self._text_offsets.get(delta.index, 0)
            choice.logprobs = _completion_logprobs(delta.logprobs, offset)
            self._text_offsets[delta.index] = offset + sum(len(token.text) for token in delta.logprobs)
        if delta.finish_reason is not None:
            choice.stop_reason = delta.stop_reason
        return [self._chunk(choice)]


# --- parts ----------------------------------------------------------------------------------------


def usage_body(usage: Usage) -> wire.UsageBody:
    return wire.UsageBody(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens + usage.completion_tokens,
        wire.PromptTokensDetails(usage.cached_tokens),
    )


def warnings_body(warnings: Sequence[str]) -> list[str] | UnsetType:
    return list(warnings) or UNSET


def finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _MIN_LOGPROB


def _completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> wire.CompletionLogprobs:
    """`offset` is where the first token begins, in characters of the answer so far.

    A log-probability of NaN stands for the one that doesn't exist: of an echoed prompt's first token.
    """
    result = wire.CompletionLogprobs([], [], [], [])
    for token in tokens:
        result.text_offset.append(offset)
        result.tokens.append(token.text)
        offset += len(token.text)
        if math.isnan(token.logprob):
            result.token_logprobs.append(None)
            result.top_logprobs.append(None)
            continue
        result.token_logprobs.append(finite(token.logprob))
        likeliest: dict[str, float] = {}
        for other in (*token.top, token):  # the chosen token is always there; equal texts keep the likelier
            likeliest.setdefault(other.text, finite(other.logprob))
        result.top_logprobs.append(likeliest)
    return result
