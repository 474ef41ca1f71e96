"""The llama.cpp server's own routes; those that it shares with others are beside theirs (docs/llama-cpp.md)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.llama_cpp import answers, server_state, wire
from inglenook.dialects.llama_cpp.requests import Call, read_completion, read_infill
from inglenook.dialects.llama_cpp.schemas import completion_schema, infill_schema
from inglenook.dialects.openai.answers import new_id
from inglenook.errors import NotServedError, UnavailableError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import json_response, stream_response, whole_response
from inglenook.server.sse import EVENTS
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning
from inglenook.types import Delta, ModelCard


async def completion(request: Request) -> Response:
    return await _respond(request, await _read(request, read_completion))


async def infill(request: Request) -> Response:
    call = await _read(request, read_infill)
    _check_fills_middle(request, call)
    return await _respond(request, call)


async def props(request: Request) -> Response:
    return json_response(server_state.props_body(_card(request), state_of(request).version))


async def slots(request: Request) -> Response:
    card = _card(request)
    num_running = state_of(request).router.num_computed(card.name)
    if request.query_params.get("fail_on_no_slot") and num_running >= card.max_running:
        raise UnavailableError("Every slot is busy.")
    return json_response(server_state.slots_body(card, num_running))


async def adapters(request: Request) -> Response:
    return json_response(b"[]")


async def refuse_change(request: Request) -> Response:
    raise NotServedError("This can't be changed while the server runs.")


async def _read(request: Request, read: Callable[[Fields, str], Call]) -> Call:
    return read(Fields(decode_object(await read_body(request))), new_id("llama"))


async def _respond(request: Request, call: Call) -> Response:
    router = state_of(request).router
    card = router.model(router.resolve(call.request.model))
    head = answers.Head(call, card, call.request.model or card.name)
    warnings = (*unknown_fields_warning(call.unknown_fields), *call.options.warnings)
    deltas = router.complete(call.request)
    if call.options.num_predict == 0:
        deltas = _prompts_only(deltas)
    if call.options.stream:
        return stream_response(request, deltas, answers.CompletionStream(head), warnings=warnings)
    return await whole_response(request, deltas, partial(answers.completion_body, head), warnings=warnings)


async def _prompts_only(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    async with aclosing(deltas):
        async for delta in deltas:
            yield replace(
                delta,
                text="",
                token_ids=(),
                hidden_ids=(),
                logprobs=(),
                finish_reason=delta.finish_reason and "length",
                stop_reason=None,
            )


def _check_fills_middle(request: Request, call: Call) -> None:
    router = state_of(request).router
    name = router.resolve(call.request.model)
    if router.model(name).details.fills_middle:
        return
    able = [card.name for card in router.models() if card.details.fills_middle]
    advice = (
        f"can: {', '.join(able)}." if able else "could: Qwen Coder, StarCoder, Code Llama, DeepSeek Coder, Codestral."
    )
    raise NotServedError(
        f"Infill is not supported by the model {name!r}: its vocabulary has no tokens to fill in the middle. These "
        f"{advice}"
    )


def _card(request: Request) -> ModelCard:
    router = state_of(request).router
    return router.model(router.resolve(request.query_params.get("model", "")))


_operation = partial(Operation, error=wire.ErrorBody, is_versioned=False)
_ANSWERS = (wire.Completion, list[wire.Completion], dict[str, Any])  # one, several prompts', response_fields
_EVENTS = {EVENTS.content_type: (wire.Piece, wire.Completion)}
_UNCHANGED = _operation("Not changed by this server.", wire.ErrorBody, status=501)
ROUTES = [
    ApiRoute(
        "POST",
        "/completion",
        completion,
        _operation("Continue prompts, as llama.cpp has it.", _ANSWERS, completion_schema, _EVENTS),
    ),
    ApiRoute(
        "POST",
        "/infill",
        infill,
        _operation("Write what stands between two texts.", _ANSWERS, infill_schema, _EVENTS, statuses=(501,)),
    ),
    ApiRoute("GET", "/props", props, _operation("What is served, as llama.cpp tells it.", wire.Props)),
    ApiRoute("POST", "/props", refuse_change, _UNCHANGED, name="change_props"),
    ApiRoute("GET", "/slots", slots, _operation("Which requests run.", list[wire.Slot])),
    ApiRoute("POST", "/slots/{slot}", refuse_change, _UNCHANGED, name="change_slot"),
    ApiRoute("GET", "/lora-adapters", adapters, _operation("The adapters: none.", list[wire.Adapter])),
    ApiRoute("POST", "/lora-adapters", refuse_change, _UNCHANGED, name="change_adapters"),
]
