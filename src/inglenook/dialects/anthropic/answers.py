"""Deltas and errors -> Anthropic's JSON: whole messages, and the events of a stream."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from inglenook.dialects.anthropic import wire
from inglenook.dialects.anthropic.fields import NO_THREADS
from inglenook.dialects.anthropic.messages import CALL_ID_PREFIX
from inglenook.dialects.arguments import arguments_object
from inglenook.errors import (
    AuthenticationError,
    InglenookError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    UnavailableError,
)
from inglenook.types import AnsweredPrompt, Delta, ModelCard, ToolCallDelta, Usage

_MAX_MESSAGE_CHARS = 2000
_OVERLOADED = 529
_ERROR_TYPES: tuple[tuple[type[InglenookError], wire.ErrorType], ...] = (
    (AuthenticationError, "authentication_error"),
    (NotFoundError, "not_found_error"),
    (PayloadTooLargeError, "request_too_large"),
    (OverloadedError, "rate_limit_error"),
    (UnavailableError, "overloaded_error"),
)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class AnswerHead:
    """What an answer repeats of its request. `max_tokens` is what was asked for: less may have fitted.

    With none of them the request only fills the cache: the one token that is computed for it isn't shown.
    """

    id: str
    model: str
    max_tokens: int
    request_id: str
    shows_thinking: bool = True


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


# --- errors and counts ----------------------------------------------------------------------------


def error_body(error: InglenookError, request_id: str) -> tuple[int, bytes]:
    """The status that Anthropic has for it, and the body."""
    return _OVERLOADED if isinstance(error, UnavailableError) else error.status, _error(error, request_id)


def _error(error: InglenookError, request_id: str) -> bytes:
    message = error.message
    if len(message) > _MAX_MESSAGE_CHARS:
        message = message[: _MAX_MESSAGE_CHARS - 3] + "..."
    kind: wire.ErrorType = "invalid_request_error" if error.status < 500 else "api_error"
    kind = next((name for of, name in _ERROR_TYPES if isinstance(error, of)), kind)
    detail = wire.ErrorDetail(kind, message)
    if error.code == NO_THREADS:
        detail.details = wire.ErrorCause(NO_THREADS)
    return _encode(wire.ErrorBody(detail, request_id))


def count_body(num_tokens: int) -> bytes:
    return _encode(wire.TokenCount(num_tokens))


def is_asked(headers: Mapping[str, str]) -> bool:
    """Whether it is a client of Anthropic's that asks, on a route that others have too."""
    return "anthropic-version" in headers


def model_body(card: ModelCard) -> bytes:
    return _encode(_model(card))


def model_list_body(cards: Sequence[ModelCard]) -> bytes:
    """All on one page."""
    models = [_model(card) for card in cards]
    first, last = (models[0].id, models[-1].id) if models else (None, None)
    return _encode(wire.ModelList(models, False, first, last))


def _model(card: ModelCard) -> wire.ModelBody:
    created = datetime.fromtimestamp(card.created, timezone.utc)
    longest = card.max_model_len
    return wire.ModelBody(card.name, card.name, f"{created:%Y-%m-%dT%H:%M:%SZ}", longest, longest, "active")


# --- blocks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """What a delta adds to a block: to that of the same key, or else to a new one."""

    key: tuple[str, int]  # the block's type, and the call's number
    text: str
    call: ToolCallDelta | None = None


def _shown(delta: Delta, head: AnswerHead) -> Delta:
    if head.max_tokens:
        return delta
    usage = None if delta.usage is None else replace(delta.usage, completion_tokens=0, reasoning_tokens=0)
    return Delta(finish_reason=delta.finish_reason and "length", usage=usage, prompt=delta.prompt)


def _pieces(delta: Delta) -> Iterator[_Piece]:
    if delta.reasoning:
        yield _Piece(("thinking", 0), delta.reasoning)
    if delta.text:
        yield _Piece(("text", 0), delta.text)
    for call in delta.tool_calls:
        yield _Piece(("tool_use", call.index), call.arguments, call)


def _signature(thinking: str) -> str:
    """Clients send a block back only with one. It is a checksum: whoever runs the server knows what was thought."""
    return hashlib.sha256(thinking.encode(errors="replace")).hexdigest()


def _stop(delta: Delta, usage: Usage, max_tokens: int) -> tuple[wire.StopReason, str | None]:
    """The stop reason, and the stop sequence that was met."""
    if delta.finish_reason == "tool_calls":
        return "tool_use", None
    if delta.finish_reason == "length":
        is_context_full = usage.completion_tokens < max_tokens
        return ("model_context_window_exceeded" if is_context_full else "max_tokens"), None
    if isinstance(delta.stop_reason, str):
        return "stop_sequence", delta.stop_reason
    return "end_turn", None


def _usage(usage: Usage) -> tuple[int, int, int, int, wire.OutputTokensDetails | UnsetType]:
    fresh = usage.prompt_tokens - usage.cached_tokens
    details = wire.OutputTokensDetails(usage.reasoning_tokens) if usage.reasoning_tokens else UNSET
    return fresh, 0, usage.cached_tokens, usage.completion_tokens, details


# --- whole messages -------------------------------------------------------------------------------


def message_body(head: AnswerHead, deltas: Iterable[Delta]) -> bytes:
    blocks: list[tuple[tuple[str, int], list[_Piece]]] = []
    last, usage = Delta(), Usage()
    for delta in (_shown(delta, head) for delta in deltas):
        for piece in _pieces(delta):
            if not blocks or blocks[-1][0] != piece.key:
                blocks.append((piece.key, []))
            blocks[-1][1].append(piece)
        usage = delta.usage or usage
        last = delta if delta.finish_reason is not None else last
    content = [_block(pieces, head) for _, pieces in blocks]
    reason, sequence = _stop(last, usage, head.max_tokens)
    return _encode(
        wire.MessageBody(head.id, "assistant", head.model, content, reason, sequence, wire.UsageBody(*_usage(usage)))
    )


def _block(pieces: list[_Piece], head: AnswerHead) -> wire.ContentBlock:
    kind, text = pieces[0].key[0], "".join(piece.text for piece in pieces)
    if kind == "text":
        return wire.TextBlock(text)
    if kind == "thinking":
        return wire.ThinkingBlock(text if head.shows_thinking else "", _signature(text))
    call = pieces[0].call
    assert call is not None
    return wire.ToolUseBlock(f"{CALL_ID_PREFIX}{call.id}", call.name or "", arguments_object(text))


# --- streams --------------------------------------------------------------------------------------


class MessageStream:
    """The events of one answer: each block is opened, gets its pieces, and is closed before the next one."""

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._is_started = False
        self._num_blocks = 0
        self._open: tuple[str, int] | None = None
        self._thinking: list[str] = []  # of the open block

    def encode(self, delta: Delta) -> list[tuple[bytes, bytes]]:
        """Named events: the name of each is also its data's type."""
        delta = _shown(delta, self._head)
        events: list[Any] = []
        if not self._is_started:
            self._is_started = True
            events.append(self._start(delta.prompt))
        for piece in _pieces(delta):
            if piece.key != self._open:
                events += self._close()
                events.append(self._begin(piece))
            events += self._go_on(piece)
        if delta.finish_reason is not None:
            usage = delta.usage or Usage()
            reason, sequence = _stop(delta, usage, self._head.max_tokens)
            events += self._close()
            events.append(wire.MessageDelta(wire.StopDelta(reason, sequence), wire.DeltaUsage(*_usage(usage))))
        return [_named(event) for event in events]

    def end(self) -> list[tuple[bytes, bytes]]:
        return [_named(wire.MessageStop())]

    def fail(self, error: InglenookError) -> list[tuple[bytes, bytes]]:
        return [(b"error", _error(error, self._head.request_id))]

    def _start(self, prompt: AnsweredPrompt | None) -> wire.MessageStart:
        usage = Usage() if prompt is None else Usage(len(prompt.token_ids), 0, prompt.num_cached_tokens)
        head = self._head
        message = wire.BegunMessage(head.id, "assistant", head.model, [], None, None, wire.UsageBody(*_usage(usage)))
        return wire.MessageStart(message)

    def _begin(self, piece: _Piece) -> wire.BlockStart:
        self._open = piece.key
        index, self._num_blocks = self._num_blocks, self._num_blocks + 1
        if piece.call is not None:
            name = piece.call.name or ""
            return wire.BlockStart(index, wire.ToolUseBlock(f"{CALL_ID_PREFIX}{piece.call.id}", name, {}))
        if piece.key[0] == "thinking":
            self._thinking = []
            return wire.BlockStart(index, wire.ThinkingBlock("", ""))
        return wire.BlockStart(index, wire.TextBlock(""))

    def _go_on(self, piece: _Piece) -> list[wire.BlockDelta]:
        kind = piece.key[0]
        if kind == "thinking":
            self._thinking.append(piece.text)
            if not self._head.shows_thinking:
                return []
            return [self._add(wire.ThinkingDelta(piece.text))]
        if kind == "tool_use":
            return [self._add(wire.InputJsonDelta(piece.text))] if piece.text else []
        return [self._add(wire.TextDelta(piece.text))]

    def _close(self) -> list[Any]:
        if self._open is None:
            return []
        events: list[Any] = []
        if self._open[0] == "thinking":
            events.append(self._add(wire.SignatureDelta(_signature("".join(self._thinking)))))
        self._open = None
        return [*events, wire.BlockStop(self._num_blocks - 1)]

    def _add(self, piece: wire.BlockPiece) -> wire.BlockDelta:
        return wire.BlockDelta(self._num_blocks - 1, piece)


def _named(event: Any) -> tuple[bytes, bytes]:
    name: str = event.__struct_config__.tag
    return name.encode(), _encode(event)
