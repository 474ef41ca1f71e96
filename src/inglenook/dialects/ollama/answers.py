"""Deltas, vectors and errors -> Ollama's JSON: whole answers, and the lines of a stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import msgspec

from inglenook.dialects.arguments import arguments_object
from inglenook.dialects.ollama import wire
from inglenook.dialects.openai.answers import finite
from inglenook.dialects.pooling.vectors import lists_of_numbers
from inglenook.errors import InglenookError
from inglenook.types import Delta, Embeddings, Timings, TokenLogprob, ToolCall, ToolCallDelta, Usage, joined_calls

_MAX_MESSAGE_CHARS = 2000
encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class AnswerHead:
    """What an answer repeats of its request, which came in at `start_ns` of `clock_ns`. `is_chat`: /api/chat."""

    model: str
    is_chat: bool
    start_ns: int


clock_ns = time.perf_counter_ns


# --- pieces ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """What one line says."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    first_call: int = 0  # the number of the first of `calls` in the answer


@dataclass
class _Seen:
    """What the last line says of all that came before it."""

    usage: Usage = field(default_factory=Usage)
    timings: Timings = Timings(0.0, 0.0)
    finish_reason: str = "stop"
    context: list[int] = field(default_factory=list)

    def see(self, delta: Delta) -> None:
        if delta.prompt is not None:
            self.context += delta.prompt.token_ids
        self.context += delta.token_ids + delta.hidden_ids
        self.usage = delta.usage or self.usage
        self.timings = delta.timings or self.timings
        if delta.finish_reason is not None:
            self.finish_reason = "length" if delta.finish_reason == "length" else "stop"


def answer_body(head: AnswerHead, deltas: Iterable[Delta]) -> bytes:
    """All of an answer as one object."""
    seen = _Seen()
    texts, thoughts = [], []
    calls: list[ToolCallDelta] = []
    logprobs: list[TokenLogprob] = []
    for delta in deltas:
        seen.see(delta)
        texts.append(delta.text)
        thoughts.append(delta.reasoning)
        calls += delta.tool_calls
        logprobs += delta.logprobs
    piece = _Piece("".join(texts), "".join(thoughts), tuple(joined_calls(calls)), tuple(logprobs))
    return encode_json(_ended(_answer(head, piece), head, seen))


class AnswerStream:
    """A line for each delta that says something; a call is one line, once it is whole; the last line is the end's."""

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._seen = _Seen()
        self._open: list[ToolCallDelta] = []  # of the call that is being written

    def encode(self, delta: Delta) -> list[bytes]:
        self._seen.see(delta)
        logprobs = delta.logprobs
        pieces = []
        if delta.reasoning:
            pieces.append(_Piece(thinking=delta.reasoning))
        if delta.text:
            pieces += [*self._close(), _Piece(delta.text)]
        for call in delta.tool_calls:
            if self._open and self._open[0].index != call.index:
                pieces += self._close()
            self._open.append(call)
        if delta.finish_reason is not None:
            pieces += self._close()
        if logprobs:
            pieces = pieces or [_Piece()]
            pieces[0] = replace(pieces[0], logprobs=logprobs)
        return [encode_json(_answer(self._head, piece)) for piece in pieces]

    def end(self) -> list[bytes]:
        return [encode_json(_ended(_answer(self._head, _Piece()), self._head, self._seen))]

    def fail(self, error: InglenookError) -> list[bytes]:
        return [error_body(error, "")[1]]

    def _close(self) -> list[_Piece]:
        if not self._open:
            return []
        index, calls = self._open[0].index, tuple(joined_calls(self._open))
        self._open = []
        return [_Piece(calls=calls, first_call=index)]


def _answer(head: AnswerHead, piece: _Piece) -> wire.ChatAnswer | wire.GenerateAnswer:
    shared: dict[str, Any] = {"model": head.model, "created_at": timestamp(time.time_ns()), "done": False}
    if piece.logprobs:
        shared["logprobs"] = [_logprob(token) for token in piece.logprobs]
    thinking = piece.thinking or msgspec.UNSET
    if not head.is_chat:
        return wire.GenerateAnswer(**shared, response=piece.text, thinking=thinking)
    message = wire.MessageBody("assistant", piece.text, thinking)
    if piece.calls:
        message.tool_calls = [
            wire.CallBody(call.id, wire.FunctionBody(index, call.name, arguments_object(call.arguments)))
            for index, call in enumerate(piece.calls, piece.first_call)
        ]
    return wire.ChatAnswer(**shared, message=message)


def _ended(
    answer: wire.ChatAnswer | wire.GenerateAnswer, head: AnswerHead, seen: _Seen
) -> wire.ChatAnswer | wire.GenerateAnswer:
    answer.done, answer.done_reason = True, seen.finish_reason
    answer.total_duration, answer.load_duration = clock_ns() - head.start_ns, 0  # a model is loaded before it is asked
    answer.prompt_eval_count, answer.eval_count = seen.usage.prompt_tokens, seen.usage.completion_tokens
    answer.prompt_eval_duration = int(seen.timings.prompt_s * 1e9)
    answer.eval_duration = int(seen.timings.generation_s * 1e9)
    if isinstance(answer, wire.GenerateAnswer):
        answer.context = seen.context
    return answer


def loaded_body(model: str, *, is_chat: bool, is_unload: bool) -> bytes:
    """The answer to a request without messages or a prompt."""
    head = AnswerHead(model, is_chat, 0)
    answer = _answer(head, _Piece())
    answer.done, answer.done_reason = True, "unload" if is_unload else "load"
    return encode_json(answer)


# --- other answers --------------------------------------------------------------------------------


def embed_body(model: str, embeddings: Embeddings | None, start_ns: int) -> bytes:
    """None: nothing was asked for but the model."""
    vectors = [] if embeddings is None else lists_of_numbers(embeddings.vectors)
    num_tokens = 0 if embeddings is None else embeddings.usage.prompt_tokens
    return encode_json(wire.EmbedAnswer(model, vectors, clock_ns() - start_ns, 0, num_tokens))


def embeddings_body(embeddings: Embeddings | None) -> bytes:
    return encode_json(wire.EmbeddingsAnswer([] if embeddings is None else embeddings.vectors[0].tolist()))


def error_body(error: InglenookError, request_id: str) -> tuple[int, bytes]:
    message = error.message
    if len(message) > _MAX_MESSAGE_CHARS:
        message = message[: _MAX_MESSAGE_CHARS - 3] + "..."
    return error.status, encode_json(wire.ErrorBody(message))


def status_lines(*statuses: str) -> list[bytes]:
    return [encode_json(wire.StatusBody(status)) for status in statuses]


# --- parts ----------------------------------------------------------------------------------------


def timestamp(time_ns: int) -> str:
    """2023-12-21T14:40:31.635304023Z"""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _logprob(token: TokenLogprob) -> wire.Logprob:
    top: Sequence[TokenLogprob] = token.top
    body = wire.Logprob(token.text, finite(token.logprob), list(token.bytes))
    if top:
        body.top_logprobs = [wire.TopLogprob(t.text, finite(t.logprob), list(t.bytes)) for t in top]
    return body
