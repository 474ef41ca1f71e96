"""Answers of the older route, completions, in OpenAI's JSON: whole and as the events of a stream."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import UNSET

from inglenook.dialects.openai import wire
from inglenook.dialects.openai.answers import (
    AnswerHead,
    Stream,
    answer_timings,
    encode_json,
    finite,
    gather,
    prompt_fields,
    token_text,
    warnings_body,
)
from inglenook.dialects.openai.prompt_logprobs import prompt_logprobs_body
from inglenook.dialects.openai.usage import usage_body
from inglenook.dialects.openai.wanted import Wanted
from inglenook.types import Delta, FinishReason, TokenLogprob


def completion_body(head: AnswerHead, deltas: Iterable[Delta]) -> bytes:
    answer, wanted = gather(deltas), head.wanted
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
                    _completion_logprobs(choice.logprobs, 0, wanted) if wanted.logprobs else None,
                    _finish_reason(choice.ending()),
                    choice.stop_reason,
                    *prompt_fields(choice.prompt, wanted),
                    choice.token_ids if wanted.token_ids else UNSET,
                    prompt_logprobs_body(choice.prompt, wanted.prompt_logprobs),
                )
                for index, choice in answer.choices
            ],
            usage_body(answer.usage, has_details=wanted.usage_details),
            head.service_tier,
            warnings_body((*head.warnings, *answer.warnings)),
            answer_timings(answer.usage, answer.timings, wanted),
        )
    )


class CompletionStream(Stream):
    """Chunks of one answer on the older route: one for each delta that says something."""

    _body = wire.CompletionChunk
    _object = "text_completion"

    def __init__(self, head: AnswerHead) -> None:
        super().__init__(head)
        self._text_offsets: dict[int, int] = {}

    def encode(self, delta: Delta) -> list[bytes]:
        self._see(delta)
        token_ids = (*delta.token_ids, *delta.hidden_ids) if self._wanted.token_ids else ()
        if not (delta.text or delta.logprobs or delta.finish_reason or token_ids):
            return []
        choice = wire.CompletionPiece(delta.index, delta.text)
        if delta.prompt is not None:
            choice.prompt_token_ids, choice.prompt_text = prompt_fields(delta.prompt, self._wanted)
        if self._wanted.token_ids:
            choice.token_ids = token_ids
        if delta.logprobs:
            offset = self._text_offsets.get(delta.index, 0)
            choice.logprobs = _completion_logprobs(delta.logprobs, offset, self._wanted)
            self._text_offsets[delta.index] = offset + sum(len(token.text) for token in delta.logprobs)
        if delta.finish_reason is not None:
            choice.finish_reason, choice.stop_reason = _finish_reason(delta.finish_reason), delta.stop_reason
        return [encode_json(self._chunk(choice, self._counted.num_generated, delta.timings))]


def _finish_reason(reason: FinishReason) -> wire.CompletionFinish:
    return "length" if reason == "length" else "stop"


def _completion_logprobs(tokens: Sequence[TokenLogprob], offset: int, wanted: Wanted) -> wire.CompletionLogprobs:
    """`offset` is where the first token begins, in characters of the answer so far.

    A log-probability of NaN stands for the one that doesn't exist: of an echoed prompt's first token.
    """
    result = wire.CompletionLogprobs([], [], [], [])
    for token in tokens:
        result.text_offset.append(offset)
        result.tokens.append(token_text(token, wanted))
        offset += len(token.text)
        if math.isnan(token.logprob):
            result.token_logprobs.append(None)
            result.top_logprobs.append(None)
            continue
        result.token_logprobs.append(finite(token.logprob))
        likeliest: dict[str, float] = {}
        for other in (*token.top, token):  # the chosen token is always there; equal texts keep the likelier
            likeliest.setdefault(token_text(other, wanted), finite(other.logprob))
        result.top_logprobs.append(likeliest)
    return result
