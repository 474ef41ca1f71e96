"""OpenAI's Responses: answers that are kept, and that later ones go on from. Each route with and without /v1."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.responses import answers as responses
from inglenook.dialects.responses import wire
from inglenook.dialects.responses.events import AnyEvent
from inglenook.dialects.responses.input import Item, new_item_id
from inglenook.dialects.responses.replay import replayed
from inglenook.dialects.responses.requests import ResponseCall, parse_response
from inglenook.dialects.responses.schemas import response_schema
from inglenook.errors import InglenookError, InvalidRequestError
from inglenook.server.answer import ClientGoneError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.background import BEAT_S, start_background
from inglenook.server.body import read_body
from inglenook.server.conversations import earlier_items, fitting, own_items
from inglenook.server.kept_answers import KeptAnswer, ResponseStream, named
from inglenook.server.respond import json_response, stream_response, whole_response
from inglenook.server.sse import EVENTS
from inglenook.server.state import ServerState, state_of
from inglenook.server.stored_responses import is_kept, keep_response, owner_of_request, stored_response
from inglenook.server.warning_header import unknown_fields_warning, warning_header
from inglenook.types import ChatRequest, Delta

MAX_LISTED = 100


async def create(request: Request) -> Response:
    state, owner = state_of(request), owner_of_request(request)
    call = parse_response(await read_body(request), new_item_id("resp"), int(time.time()))
    model = state.router.resolve(call.request.model)
    will_keep = await is_kept(state.responses, call)
    own, chat, warnings = await _conversation(state, owner, call)
    skeleton = replace(call.skeleton, model=call.skeleton.model or model, store=will_keep)
    new_writer = partial(
        responses.ResponseWriter,
        skeleton,
        custom=call.tools.custom,
        seals_thinking=call.seals_thinking,
        warnings=warnings,
    )
    deltas = state.router.chat(chat)
    keep = partial(keep_response, state.responses, owner, own)
    if skeleton.background:
        await asyncio.to_thread(keep, skeleton)

        def finish(end: list[Delta] | InglenookError) -> wire.Response:
            writer = new_writer()
            return writer.failed(end) if isinstance(end, InglenookError) else responses.whole_response(writer, end)

        start_background(state, deltas, finish, response_id=skeleton.id, owner=owner)
        return json_response(encode_json(skeleton), warning_header(warnings, ()))
    answer = KeptAnswer(
        deltas, lambda collected: responses.whole_response(new_writer(), collected), keep if will_keep else None
    )
    if call.is_streamed:
        return stream_response(request, answer.deltas(), ResponseStream(new_writer(), answer), warnings=warnings)
    return await whole_response(request, answer.deltas(), lambda _: encode_json(answer.response), warnings=warnings)


async def retrieve(request: Request) -> Response:
    stored = await stored_response(request)
    if request.query_params.get("stream", "false") not in ("true", "1"):
        return json_response(stored.body)
    while stored.status == "in_progress":
        await asyncio.sleep(BEAT_S)
        if await request.is_disconnected():
            raise ClientGoneError
        stored = await stored_response(request)
    if stored.status == "cancelled":
        raise InvalidRequestError("The response was cancelled; there is nothing to stream.", param="stream")
    after = request.query_params.get("starting_after", "")
    first = int(after[:18]) + 1 if after.isascii() and after.isdigit() else 0
    told = await asyncio.to_thread(replayed, stored.body)
    return Response(EVENTS.frame(named(told[first:])), media_type=EVENTS.content_type)


async def delete(request: Request) -> Response:
    state, response_id = state_of(request), request.path_params["response_id"]
    await asyncio.to_thread(state.responses.delete, response_id, owner_of_request(request))
    _stop(state, response_id)
    return json_response(responses.deleted_body(response_id))


async def cancel(request: Request) -> Response:
    state, stored = state_of(request), await stored_response(request)
    if not msgspec.json.decode(stored.body)["background"]:
        raise InvalidRequestError(
            "Only background responses can be cancelled; to end another one, close its connection.",
            param="response_id",
        )
    if stored.status == "in_progress":
        body = responses.cancelled_body(stored.body)
        await asyncio.to_thread(state.responses.end, stored.id, owner_of_request(request), "cancelled", body)
        _stop(state, stored.id)
        stored = await stored_response(request)  # it may have ended by itself before
    return json_response(stored.body)


async def input_items(request: Request) -> Response:
    query = request.query_params
    limit, order, after = query.get("limit", "20"), query.get("order", "desc"), query.get("after")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:5]) <= MAX_LISTED):
        raise InvalidRequestError(f"limit must be between 1 and {MAX_LISTED}.", param="limit")
    if order not in ("asc", "desc"):
        raise InvalidRequestError("order must be asc or desc.", param="order")
    stored = await stored_response(request)
    items: list[Item] = msgspec.json.decode(stored.input)
    if order == "desc":
        items.reverse()
    if after is not None:
        position = next((i for i, item in enumerate(items) if item["id"] == after), None)
        if position is None:
            raise InvalidRequestError(f"after: the response has no input item {after[:80]!r}.", param="after")
        items = items[position + 1 :]
    return json_response(responses.item_list_body(items[: int(limit)], has_more=len(items) > int(limit)))


async def count_input_tokens(request: Request) -> Response:
    state, owner = state_of(request), owner_of_request(request)
    call = parse_response(await read_body(request), "count", 0)
    _, chat, warnings = await _conversation(state, owner, call)
    [prompt] = await state.router.render(chat)
    return json_response(responses.input_tokens_body(len(prompt.token_ids)), warning_header(warnings, [prompt]))


# --- parts ----------------------------------------------------------------------------------------


async def _conversation(
    state: ServerState, owner: str, call: ResponseCall
) -> tuple[list[Item], ChatRequest, tuple[str, ...]]:
    """The call's own items, the request for them and all that came before, and what is to be said of it."""
    own = await own_items(state.responses, owner, call)
    earlier = await earlier_items(state.responses, owner, call)
    chat, truncation = await fitting(state.router, call, [*earlier, *own])
    return own, chat, (*call.warnings, *unknown_fields_warning(call.unknown_fields), *truncation)


def _stop(state: ServerState, response_id: str) -> None:
    task = state.in_background.get(response_id)
    if task is not None:
        task.cancel()


_KEPT = "/responses/{response_id}"
ROUTES = [
    ApiRoute(
        "POST",
        "/responses",
        create,
        Operation(
            "Answer a conversation, and keep it.", wire.Response, response_schema, {EVENTS.content_type: AnyEvent}
        ),
    ),
    ApiRoute(
        "POST",
        "/responses/input_tokens",
        count_input_tokens,
        Operation("Count the tokens of a response's input.", wire.InputTokens, response_schema),
    ),
    ApiRoute("GET", _KEPT, retrieve, Operation("A response that was kept.", wire.Response, statuses=(400,))),
    ApiRoute("DELETE", _KEPT, delete, Operation("Forget a response.", wire.DeletedResponse, statuses=(400,))),
    ApiRoute(
        "POST", f"{_KEPT}/cancel", cancel, Operation("End a background response.", wire.Response, statuses=(400,))
    ),
    ApiRoute(
        "GET",
        f"{_KEPT}/input_items",
        input_items,
        Operation("What a response was asked.", wire.ItemList, statuses=(400,)),
    ),
]
