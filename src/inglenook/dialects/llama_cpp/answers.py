"""Deltas and errors -> the JSON of the llama.cpp server's completion and infill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from inglenook.dialects.llama_cpp import wire
from inglenook.dialects.llama_cpp.requests import Call
from inglenook.dialects.llama_cpp.server_state import settings_body
from inglenook.dialects.openai.answers import Choice, encode_json, finite, gather
from inglenook.dialects.openai.usage import timings_body
from inglenook.errors import ContextLengthError, InglenookError
from inglenook.types import AnsweredPrompt, Delta, FinishReason, ModelCard, Timings, TokenLogprob, Usage

_MAX_MESSAGE_CHARS = 2000
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


def error_shape(error: InglenookError, request_id: str = "") -> tuple[int, bytes]:
    """The status and the body. Kinds that llama.cpp doesn't have keep the name that OpenAI's routes give them."""
    kind = _ERROR_TYPES.get(error.status, "server_error" if error.status == 500 else error.type)
    if isinstance(error, ContextLengthError):
        kind = "exceed_context_size_error"
    message = error.message[:_MAX_MESSAGE_CHARS]
    return error.status, encode_json(wire.ErrorBody(wire.ErrorDetail(error.status, message, kind)))


@dataclass(frozen=True)
class Head:
    """`model` is the name that the client asked for, or the model's own."""

    call: Call
    card: ModelCard
    model: str


@dataclass
class _Counted:
    """Of one prompt's answer, so far. Times are in seconds of one clock."""

    start_s: float
    prompt: AnsweredPrompt = AnsweredPrompt(())
    num_tokens: int = 0
    first_s: float | None = None
    last_s: float = 0.0
    has_new_line: bool = False

    def usage(self) -> Usage:
        return Usage(len(self.prompt.token_ids), self.num_tokens, self.prompt.num_cached_tokens)

    def timings(self) -> Timings:
        first_s = self.last_s if self.first_s is None else self.first_s
        return Timings(first_s - self.start_s, self.last_s - first_s)


# --- whole answers --------------------------------------------------------------------------------


def completion_body(head: Head, deltas: Iterable[Delta]) -> bytes:
    """An object, or a list of them where there are several prompts."""
    answer = gather(deltas)
    timings = answer.timings or Timings(0.0, 0.0)
    bodies = [_whole(head, index, choice, timings) for index, choice in answer.choices]
    return encode_json(bodies if head.call.num_prompts > 1 else bodies[0])


def _whole(head: Head, index: int, choice: Choice, timings: Timings) -> Any:
    options = head.call.options
    content = "".join(choice.texts)
    usage = Usage(len(choice.prompt.token_ids), len(choice.token_ids), choice.prompt.num_cached_tokens)
    body = _completion(
        head,
        index,
        choice.prompt,
        usage,
        timings,
        choice.finish_reason,
        choice.stop_reason,
        has_new_line="\n" in content,
    )
    body.content = content
    body.tokens = choice.token_ids if options.with_tokens else ()
    body.completion_probabilities = _probabilities(head, choice.logprobs)
    return selected(body, options.response_fields)


def _completion(
    head: Head,
    index: int,
    prompt: AnsweredPrompt,
    usage: Usage,
    timings: Timings,
    reason: FinishReason | None,
    stop_reason: str | int | None,
    *,
    has_new_line: bool,
) -> wire.Completion:
    """All but the text and its tokens."""
    is_word = reason == "stop" and stop_reason in head.call.request.sampling.stop
    is_end = reason == "stop" and stop_reason is None
    is_full = usage.prompt_tokens + usage.completion_tokens >= head.card.max_model_len
    return wire.Completion(
        index,
        "",
        (),
        head.call.options.id_slot,
        True,
        head.model,
        usage.completion_tokens,
        usage.prompt_tokens,
        settings_body(head.call.options, head.card, head.model),
        prompt.text or "",
        has_new_line,
        reason == "length" and is_full,
        "word" if is_word else "eos" if is_end else "limit",
        str(stop_reason) if is_word else "",
        usage.cached_tokens,
        timings_body(usage, timings),
    )


def selected(body: wire.Completion, paths: Sequence[str]) -> Any:
    """Of `response_fields`: each under its whole path; what isn't there is left out. All where none are named."""
    if not paths:
        return body
    tree = msgspec.to_builtins(body)
    found = {}
    for path in paths:
        value = tree
        for key in path.split("/"):
            value = value.get(key, UNSET) if isinstance(value, dict) else UNSET
        if value is not UNSET:
            found[path] = value
    return found


# --- streams --------------------------------------------------------------------------------------


class CompletionStream:
    """An event for each delta that adds something, and one at each prompt's end, which has no text."""

    def __init__(self, head: Head, clock: Callable[[], float] = time.perf_counter) -> None:
        self._head = head
        self._clock = clock
        self._start_s = clock()
        self._counted: dict[int, _Counted] = {}

    def encode(self, delta: Delta) -> list[bytes]:
        counted = self._counted.setdefault(delta.index, _Counted(self._start_s))
        token_ids = (*delta.token_ids, *delta.hidden_ids)
        counted.last_s = self._clock()
        counted.prompt = delta.prompt or counted.prompt
        counted.num_tokens += len(token_ids)
        counted.has_new_line |= "\n" in delta.text
        if token_ids and counted.first_s is None:
            counted.first_s = counted.last_s
        events: list[Any] = []
        if delta.text or token_ids:
            events.append(self._piece(delta, token_ids, counted))
        if delta.finish_reason is not None:
            is_only = self._head.call.num_prompts == 1
            timings = delta.timings if delta.timings is not None and is_only else counted.timings()
            last = _completion(
                self._head,
                delta.index,
                counted.prompt,
                counted.usage(),
                timings,
                delta.finish_reason,
                delta.stop_reason,
                has_new_line=counted.has_new_line,
            )
            events.append(selected(last, self._head.call.options.response_fields))
        return [encode_json(event) for event in events]

    def end(self) -> list[bytes]:
        return []

    def fail(self, error: InglenookError) -> list[bytes]:
        return [error_shape(error)[1]]

    def _piece(self, delta: Delta, token_ids: Sequence[int], counted: _Counted) -> wire.Piece:
        options = self._head.call.options
        return wire.Piece(
            delta.index,
            delta.text,
            token_ids,
            False,
            options.id_slot,
            counted.num_tokens,
            len(counted.prompt.token_ids),
            timings_body(counted.usage(), counted.timings()) if options.with_timings else UNSET,
            _probabilities(self._head, delta.logprobs),
        )


# --- tokens ---------------------------------------------------------------------------------------


def _probabilities(head: Head, tokens: Sequence[TokenLogprob]) -> list[wire.TokenProbability] | UnsetType:
    if not head.call.options.sampling.logprobs or not tokens:
        return UNSET
    return [
        wire.TokenProbability(
            token.token_id,
            _text(token),
            list(token.bytes),
            finite(token.logprob),
            [
                wire.TopProbability(other.token_id, _text(other), list(other.bytes), finite(other.logprob))
                for other in token.top
            ],
        )
        for token in tokens
    ]


def _text(token: TokenLogprob) -> str:
    """Its whole characters: `bytes` tell the rest."""
    return token.bytes.decode(errors="ignore")
