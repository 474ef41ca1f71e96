"""Anthropic's routes: messages, and counting their tokens. Each exists with and without /v1 (see gate.py)."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.anthropic import answers as anthropic
from inglenook.dialects.anthropic import wire
from inglenook.dialects.anthropic.requests import MessagesCall, parse_count, parse_messages
from inglenook.dialects.anthropic.schemas import count_schema, messages_schema
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.errors import REQUEST_ID
from inglenook.server.respond import json_response, stream_response, whole_response
from inglenook.server.sse import EVENTS
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header


async def create_message(request: Request) -> Response:
    router = state_of(request).router
    call = parse_messages(await read_body(request), anthropic.new_message_id())
    model = router.resolve(call.request.model)
    head = anthropic.AnswerHead(
        call.request.request_id,
        call.request.model or model,
        call.max_tokens,
        request.scope[REQUEST_ID],
        call.shows_thinking,
    )
    deltas = router.chat(call.request)
    if call.stream:
        return stream_response(request, deltas, anthropic.MessageStream(head), warnings=_warnings(call))
    return await whole_response(request, deltas, partial(anthropic.message_body, head), warnings=_warnings(call))


async def count_message_tokens(request: Request) -> Response:
    call = parse_count(await read_body(request))
    [prompt] = await state_of(request).router.render(call.request)
    body = anthropic.count_body(len(prompt.token_ids))
    return json_response(body, warning_header(_warnings(call), [prompt]))


def _warnings(call: MessagesCall) -> tuple[str, ...]:
    return unknown_fields_warning(call.unknown_fields) + call.warnings


_OVERLOADED = 529
ROUTES = [
    ApiRoute(
        "POST",
        "/messages",
        create_message,
        Operation(
            "Answer a conversation, as Anthropic does.",
            wire.MessageBody,
            messages_schema,
            {EVENTS.content_type: wire.EVENTS},
            statuses=(_OVERLOADED,),
            error=wire.ErrorBody,
        ),
    ),
    ApiRoute(
        "POST",
        "/messages/count_tokens",
        count_message_tokens,
        Operation(
            "Count a conversation's tokens.",
            wire.TokenCount,
            count_schema,
            statuses=(_OVERLOADED,),
            error=wire.ErrorBody,
        ),
    ),
]
