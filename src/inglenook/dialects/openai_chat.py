"""Chat answers in OpenAI's JSON, whole and as the events of a stream: text, thinking and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inglenook.dialects import openai_wire as wire
from inglenook.dialects.openai import (
    AnswerHead,
    Choice,
    Stream,
    encode_json,
    finite,
    gather,
    usage_body,
    warnings_body,
)
from inglenook.dialects.openai_tools import CallForm
from inglenook.types import Delta, FinishReason, TokenLogprob, ToolCallDelta, joined_calls

TODAYS = CallForm()

# --- whole answers --------------------------------------------------------------------------------


def chat_body(head: AnswerHead, deltas: Iterable[Delta], *, has_logprobs: bool, call_form: CallForm = TODAYS) -> bytes:
    answer = gather(deltas)
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
                    wire.ChatLogprobs(_logprobs(choice.logprobs)) if has_logprobs else None,
                    _finish_reason(choice.finish_reason, call_form),
                    choice.stop_reason,
                )
                for index, choice in answer.choices
            ],
            usage_body(answer.usage),
            warnings_body((*head.warnings, *answer.warnings)),
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
    """Chunks of one chat answer: the role comes alone and first, the finish reason alone and last, per choice."""

    _body = wire.ChatChunk
    _object = "chat.completion.chunk"

    def __init__(self, head: AnswerHead, *, include_usage: bool, call_form: CallForm = TODAYS) -> None:
        super().__init__(head, include_usage=include_usage)
        self._call_form = call_form
        self._opened: set[int] = set()

    def encode(self, delta: Delta) -> list[bytes]:
        self._see(delta)
        index = delta.index
        events = []
        if index not in self._opened:
            self._opened.add(index)
            events.append(self._chunk(wire.ChatChunkChoice(index, wire.ChatDelta("assistant", ""))))
        parts = list(self._parts(delta))
        if delta.logprobs and not parts:
            parts.append(wire.ChatDelta(content=""))
        # All of a delta's tokens go with its first part: which token made which, nobody can tell.
        logprobs = wire.ChatLogprobs(_logprobs(delta.logprobs)) if delta.logprobs else None
        for part in parts:
            events.append(self._chunk(wire.ChatChunkChoice(index, part, logprobs)))
            logprobs = None
        if delta.finish_reason is not None:
            reason = _finish_reason(delta.finish_reason, self._call_form)
            choice = wire.ChatChunkChoice(index, wire.ChatDelta(), None, reason, delta.stop_reason)
            events.append(self._chunk(choice))
        return events

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
                yield self._call(call, wire.FunctionBody(call.name, ""))
            if call.arguments:
                yield self._call(ToolCallDelta(call.index), wire.FunctionBody(arguments=call.arguments))

    def _call(self, call: ToolCallDelta, function: wire.FunctionBody) -> wire.ChatDelta:
        if self._call_form.is_legacy:
            return wire.ChatDelta(function_call=function)
        if call.id is None:
            return wire.ChatDelta(tool_calls=[wire.ToolCallChunk(call.index, function=function)])
        return wire.ChatDelta(tool_calls=[wire.ToolCallChunk(call.index, call.id, "function", function)])


# --- parts ----------------------------------------------------------------------------------------


def _finish_reason(reason: FinishReason | None, call_form: CallForm) -> str | None:
    return call_form.finish_reason if reason == "tool_calls" else reason


def _logprobs(tokens: Sequence[TokenLogprob]) -> list[wire.ChatTokenLogprob]:
    return [
        wire.ChatTokenLogprob(
            token.text,
            finite(token.logprob),
            list(token.bytes),
            [wire.TopLogprob(other.text, finite(other.logprob), list(other.bytes)) for other in token.top],
        )
        for token in tokens
    ]
