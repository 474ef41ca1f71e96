"""Deltas and errors -> the JSON of Text Generation Inference (its router's API, and the hosted API's lists)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from inglenook.dialects.huggingface import wire
from inglenook.dialects.huggingface.requests import Call
from inglenook.dialects.openai.answers import Choice, encode_json, finite, gather
from inglenook.errors import (
    EngineError,
    InglenookError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from inglenook.types import AnsweredPrompt, Delta, FinishReason, ModelCard, Task, TokenLogprob

_ESTIMATED_WAIT_S = 1.0
_MAX_MESSAGE_CHARS = 2000
_PIPELINE_TAGS: dict[Task, str] = {
    "generate": "text-generation",
    "embed": "feature-extraction",
    "score": "text-ranking",
    "classify": "text-classification",
}

# --- errors and the model -------------------------------------------------------------------------


def error_shape(error: InglenookError, request_id: str = "") -> tuple[int, bytes]:
    """The status and the body. Those kinds that TGI has, have its statuses; the others keep theirs."""
    status, kind = _kind(error)
    wait = _ESTIMATED_WAIT_S if isinstance(error, UnavailableError) else UNSET
    return status, encode_json(wire.ErrorBody(error.message[:_MAX_MESSAGE_CHARS], kind, wait))


def _kind(error: InglenookError) -> tuple[int, str]:
    if isinstance(error, OverloadedError):
        return 429, "overloaded"
    if isinstance(error, InvalidRequestError):
        return 422, "validation"
    if isinstance(error, EngineError):
        return 424, "generation"
    if error.status == 500:
        return 500, "incomplete_generation"
    return error.status, error.code or error.type


def info_body(card: ModelCard, version: str, *, max_choices: int, max_stop_strings: int, max_inputs: int) -> bytes:
    """GET /info. Commits and images there are none of, so these are null."""
    tag = _PIPELINE_TAGS[card.task]
    return encode_json(
        wire.Info(
            card.root,
            None,
            tag,
            card.max_requests,
            max_choices,
            max_stop_strings,
            card.max_model_len - 1 if card.task == "generate" else card.max_model_len,
            card.max_model_len,
            validation_workers=1,
            max_client_batch_size=max_inputs,
            router="inglenook",
            version=version,
        )
    )


# --- whole answers --------------------------------------------------------------------------------


def generated_body(call: Call, deltas: Iterable[Delta], *, is_list: bool) -> bytes:
    """POST /generate gives one object, POST / and /models/{id} a list."""
    deltas = list(deltas)
    choices = [choice for _, choice in gather(deltas).choices]
    prefill = next((_prefill(delta.prompt) for delta in deltas if delta.prompt is not None), [])
    if call.parameters.best_of == 1:
        results = [_generated(call, index, choice, prefill) for index, choice in enumerate(choices)]
        return encode_json(results if is_list else results[0])
    order = sorted(range(len(choices)), key=lambda index: _mean_logprob(choices[index]), reverse=True)
    best = _generated(call, order[0], choices[order[0]], prefill)
    if call.parameters.with_details:
        assert isinstance(best.details, wire.Details)
        best.details.best_of_sequences = [_sequence(call, index, choices[index], prefill) for index in order[1:]]
    return encode_json([best] if is_list else best)


def _mean_logprob(choice: Choice) -> float:
    return sum(token.logprob for token in choice.logprobs) / max(len(choice.logprobs), 1)


def _prefill(prompt: AnsweredPrompt) -> list[wire.PrefillToken]:
    """The prompt's tokens where they were asked for. Nothing is known of the first one but what the others leave."""
    if prompt.logprobs is None:
        return []
    known = [token for token in prompt.logprobs if token is not None]
    tokens = [wire.PrefillToken(token.token_id, token.text, finite(token.logprob)) for token in known]
    rest = b"".join(token.bytes for token in known)
    first = (prompt.text or "").encode().removesuffix(rest).decode(errors="replace")
    return [wire.PrefillToken(prompt.token_ids[0], first, None), *tokens]


def _generated(call: Call, index: int, choice: Choice, prefill: list[wire.PrefillToken]) -> wire.Generated:
    text = "".join(choice.texts)
    generated = wire.Generated(call.prompt + text if call.with_full_text else text)
    if call.parameters.with_details:
        tokens = _tokens(choice.logprobs, token_texts(choice.logprobs, text, _decoder()))
        generated.details = wire.Details(
            _finish_reason(choice.finish_reason, choice.stop_reason),
            len(tokens),
            call.seed(index),
            prefill,
            tokens,
            top_tokens=_all_top_tokens(call, choice.logprobs),
        )
    return generated


def _sequence(call: Call, index: int, choice: Choice, prefill: list[wire.PrefillToken]) -> wire.Sequence:
    whole = _generated(call, index, choice, prefill)
    details = whole.details
    assert isinstance(details, wire.Details)
    return wire.Sequence(
        whole.generated_text,
        details.finish_reason,
        details.generated_tokens,
        details.prefill,
        details.tokens,
        details.seed,
        details.top_tokens,
    )


def _all_top_tokens(call: Call, tokens: Sequence[TokenLogprob]) -> list[list[wire.Token]] | UnsetType:
    return [_top_tokens(token) for token in tokens] if call.parameters.num_top_tokens else UNSET


# --- streams --------------------------------------------------------------------------------------


class GenerateStream:
    """An event for each token; the last one has the whole text, and details where they were asked for."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._decoder = _decoder()
        self._texts: list[str] = []
        self._num_tokens = 0
        self._num_prompt_tokens = 0
        self._last = wire.Token(0, "", 0.0, True)

    def encode(self, delta: Delta) -> list[bytes]:
        if delta.prompt is not None:
            self._num_prompt_tokens = len(delta.prompt.token_ids)
        self._texts.append(delta.text)
        texts = token_texts(delta.logprobs, delta.text, self._decoder)
        events = [self._event(token, text) for token, text in zip(delta.logprobs, texts, strict=True)]
        if delta.finish_reason is not None:
            if not events:  # all of its tokens are told already
                events.append(self._empty_event())
            last = events[-1]
            text = "".join(self._texts)
            last.generated_text = self._call.prompt + text if self._call.with_full_text else text
            if self._call.parameters.with_details:
                reason = _finish_reason(delta.finish_reason, delta.stop_reason)
                last.details = wire.StreamDetails(reason, self._num_tokens, self._call.seed(0), self._num_prompt_tokens)
        return [encode_json(event) for event in events]

    def end(self) -> list[bytes]:
        return []

    def fail(self, error: InglenookError) -> list[bytes]:
        return [error_shape(error)[1]]

    def _empty_event(self) -> wire.StreamEvent:
        """An end without a token of its own: the last token again, with nothing to add."""
        return wire.StreamEvent(self._num_tokens + 1, self._last, None, None)

    def _event(self, token: TokenLogprob, text: str) -> wire.StreamEvent:
        self._num_tokens += 1
        self._last = wire.Token(token.token_id, "", finite(token.logprob), True)
        top = _top_tokens(token) if self._call.parameters.num_top_tokens else UNSET
        return wire.StreamEvent(self._num_tokens, _token(token, text), None, None, top)


# --- tokens ---------------------------------------------------------------------------------------


def token_texts(tokens: Sequence[TokenLogprob], text: str, decoder: Any) -> list[str]:
    """What each of the tokens adds to their joint text: joined, it is that text.

    Where the text isn't what their bytes say (a tokenizer's own habits), the last token has all of it.
    """
    pieces = ["" if token.is_special else decoder.decode(token.bytes) for token in tokens]
    if not "".join(pieces).startswith(text):
        decoder.reset()
        return [""] * (len(tokens) - 1) + [text] if tokens else []
    room = len(text)  # a stop string may end within a token
    for index, piece in enumerate(pieces):
        pieces[index] = piece[:room]
        room -= len(pieces[index])
    return pieces


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


def _tokens(tokens: Sequence[TokenLogprob], texts: Sequence[str]) -> list[wire.Token]:
    return [_token(token, text) for token, text in zip(tokens, texts, strict=True)]


def _token(token: TokenLogprob, text: str) -> wire.Token:
    return wire.Token(token.token_id, text, finite(token.logprob), token.is_special)


def _top_tokens(token: TokenLogprob) -> list[wire.Token]:
    return [_token(other, other.text) for other in token.top]


def _finish_reason(reason: FinishReason | None, stop_reason: str | int | None) -> wire.FinishReason:
    if reason == "length":
        return "length"
    return "eos_token" if stop_reason is None else "stop_sequence"
