"""Chat answers in OpenAI's JSON, whole and as the events of a stream: text, thinking and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import UNSET

from inglenook.dialects.openai import wire
from inglenook.dialects.openai.answers import (
    AnswerHead,
    Choice,
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
from inglenook.dialects.openai.tools import CallForm
from inglenook.dialects.openai.usage import usage_body
from inglenook.dialects.openai.wanted import Wanted
from inglenook.types import AnsweredPrompt, Delta, FinishReason, TokenLogprob, ToolCallDelta, joined_calls

TODAYS = CallForm()

# --- whole answers --------------------------------------------------------------------------------


def chat_body(head: AnswerHead, deltas: Iterable[Delta], *, call_form: CallForm = TODAYS) -> bytes:
    answer, wanted = gather(deltas), head.wanted
    prompt = answer.choices[0][1].prompt if answer.choices else AnsweredPrompt(())
    return encode_json(
        wire.ChatCompletion(
            head.id,
            "chat.completion",
            head.created,
            head.model,
            head.fingerprint,
            [
                wire.ChatChoice(
                    index,
                    _message(choice, call_form),
                    wire.ChatLogprobs(logprobs_body(choice.logprobs, wanted)) if wanted.logprobs else None,
                    _finish_reason(choice.ending(), call_form),
                    choice.stop_reason,
                    choice.token_ids if wanted.token_ids else UNSET,
                )
                for index, choice in answer.choices
            ],
            usage_body(answer.usage, has_details=wanted.usage_details),
            head.service_tier,
            warnings_body((*head.warnings, *answer.warnings)),
            *prompt_fields(prompt, wanted),
            answer_timings(answer.usage, answer.timings, wanted),
            prompt_logprobs_body(prompt, wanted.prompt_logprobs),
        )
    )


def _message(choice: Choice, call_form: CallForm) -> wire.ChatMessage:
    content, reasoning = "".join(choice.texts), "".join(choice.reasoning)
    calls = [
        wire.ToolCallBody(call.id, "function", wire.FunctionBody(call.name, call.arguments))
        for call in joined_calls(choice.calls)
    ]
    message = wire.ChatMessage("assistant", None if calls and not content else content)
    if reasoning:
        message.reasoning_content = message.reasoning = reasoning
    if calls and call_form.is_legacy:
        message.function_call = calls[0].function
    elif calls:
        message.tool_calls = calls
    return message


# --- streams --------------------------------------------------------------------------------------


class ChatStream(Stream):
    """Chunks of one chat answer: the role comes alone and first, the finish reason alone and last, per choice.

    With usage in every chunk the finish reason comes with the last piece of the answer, where it isn't alone anyway:
    the number of tokens is to rise with each chunk.
    """

    _body = wire.ChatChunk
    _object = "chat.completion.chunk"

    def __init__(self, head: AnswerHead, *, call_form: CallForm = TODAYS) -> None:
        super().__init__(head)
        self._call_form = call_form
        self._opened: set[int] = set()

    def encode(self, delta: Delta) -> list[bytes]:
        before = self._counted.num_generated
        self._see(delta)
        events = []
        if delta.index not in self._opened:
            events.append(self._opening(delta, before))
        choices = self._choices(delta)
        rise = self._counted.num_generated - before
        for number, choice in enumerate(choices, 1):
            timings = delta.timings if number == len(choices) else None
            events.append(encode_json(self._chunk(choice, before + rise * number // len(choices), timings)))
        return events

    def _opening(self, delta: Delta, num_generated: int) -> bytes:
        chunk = self._chunk(wire.ChatChunkChoice(delta.index, wire.ChatDelta("assistant", "")), num_generated)
        if not self._opened and delta.prompt is not None:
            chunk.prompt_token_ids, chunk.prompt_text = prompt_fields(delta.prompt, self._wanted)
        self._opened.add(delta.index)
        return encode_json(chunk)

    def _choices(self, delta: Delta) -> list[wire.ChatChunkChoice]:
        index, wanted = delta.index, self._wanted
        token_ids = (*delta.token_ids, *delta.hidden_ids) if wanted.token_ids else ()
        parts = list(self._parts(delta))
        if not parts and (delta.logprobs or (token_ids and delta.finish_reason is None)):
            parts.append(wire.ChatDelta(content=""))
        choices = [wire.ChatChunkChoice(index, part) for part in parts]
        if delta.finish_reason is not None:
            if not choices or not wanted.continuous_usage:
                choices.append(wire.ChatChunkChoice(index, wire.ChatDelta()))
            choices[-1].finish_reason = _finish_reason(delta.finish_reason, self._call_form)
            choices[-1].stop_reason = delta.stop_reason
        # All of a delta's tokens go with its first part: which token made which, nobody can tell.
        if delta.logprobs:
            choices[0].logprobs = wire.ChatLogprobs(logprobs_body(delta.logprobs, wanted))
        if token_ids:
            choices[0].token_ids = token_ids
        return choices

    def _parts(self, delta: Delta) -> Iterator[wire.ChatDelta]:
        """One kind in each: MetaGPT drops the content of a chunk that has reasoning, too."""
        if delta.reasoning:
            yield wire.ChatDelta(reasoning_content=delta.reasoning, reasoning=delta.reasoning)
        if delta.text:
            yield wire.ChatDelta(content=delta.text)
        for call in delta.tool_calls:
            if self._call_form.is_legacy and call.index > 0:
                continue  # there is room for one
            if call.name is not None:
                yield self._call(call, wire.FunctionPiece(call.name, ""))
            if call.arguments:
                yield self._call(ToolCallDelta(call.index), wire.FunctionPiece(arguments=call.arguments))

    def _call(self, call: ToolCallDelta, function: wire.FunctionPiece) -> wire.ChatDelta:
        if self._call_form.is_legacy:
            return wire.ChatDelta(function_call=function)
        if call.id is None:
            return wire.ChatDelta(tool_calls=[wire.ToolCallChunk(call.index, function=function)])
        return wire.ChatDelta(tool_calls=[wire.ToolCallChunk(call.index, call.id, "function", function)])


# --- parts ----------------------------------------------------------------------------------------


def _finish_reason(reason: FinishReason, call_form: CallForm) -> wire.ChatFinish:
    return call_form.finish_reason if reason == "tool_calls" else reason


def logprobs_body(tokens: Sequence[TokenLogprob], wanted: Wanted) -> list[wire.ChatTokenLogprob]:
    return [
        wire.ChatTokenLogprob(
            token_text(token, wanted),
            finite(token.logprob),
            list(token.bytes),
            [
                wire.TopLogprob(token_text(other, wanted), finite(other.logprob), list(other.bytes))
                for other in token.top
            ],
        )
        for token in tokens
    ]
