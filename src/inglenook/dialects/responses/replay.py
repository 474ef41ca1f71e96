"""The events of a stored Response, as a client gets them that asks for it with stream=true: each item in one piece."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from inglenook.dialects.openai.wire import ChatTokenLogprob, TopLogprob
from inglenook.dialects.responses import events, wire
from inglenook.dialects.responses.answers import ResponseEvents, ResponseWriter
from inglenook.dialects.responses.messages import INPUT_KEY
from inglenook.types import Delta, TokenLogprob, ToolCallDelta


def replayed(body: bytes) -> list[events.Event]:
    """Of a response that has ended. Ids and positions are those of the stream that it had."""
    response = msgspec.json.decode(body, type=wire.Response)
    begun = replace(
        response,
        status="in_progress",
        output=[],
        completed_at=None,
        error=None,
        incomplete_details=None,
        usage=UNSET,
        warnings=UNSET,
    )
    custom = frozenset(tool.name for tool in response.tools if isinstance(tool, wire.CustomTool))
    seals = any(isinstance(item, wire.ReasoningItem) and item.encrypted_content for item in response.output)
    stream = ResponseEvents(ResponseWriter(begun, custom=custom, seals_thinking=seals))
    told = [event for delta in _deltas(response) for event in stream.encode(delta)]
    return told + stream.end(response)


def _deltas(response: wire.Response) -> Iterator[Delta]:
    num_calls = 0
    for item in response.output:
        if isinstance(item, wire.ReasoningItem):
            yield Delta(reasoning="".join(part.text for part in item.content))
        elif isinstance(item, wire.OutputMessage):
            for part in item.content:
                yield Delta(text=part.text, logprobs=tuple(_token(token) for token in part.logprobs))
        else:
            arguments = item.arguments if isinstance(item, wire.FunctionCall) else json.dumps({INPUT_KEY: item.input})
            yield Delta(tool_calls=(ToolCallDelta(num_calls, item.call_id, item.name, arguments),))
            num_calls += 1
    if response.status == "incomplete":
        yield Delta(finish_reason="length")


def _token(token: ChatTokenLogprob | TopLogprob) -> TokenLogprob:
    top = tuple(map(_token, token.top_logprobs)) if isinstance(token, ChatTokenLogprob) else ()
    return TokenLogprob(-1, token.token, bytes(token.bytes), token.logprob, top)  # its id isn't kept
