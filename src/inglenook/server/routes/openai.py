"""OpenAI's routes: models, chat completions, completions. Each exists with and without /v1 (see gate.py)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.anthropic import answers as anthropic
from inglenook.dialects.anthropic import wire as anthropic_wire
from inglenook.dialects.openai import answers as openai
from inglenook.dialects.openai import wire
from inglenook.dialects.openai.chat import ChatStream, chat_body
from inglenook.dialects.openai.completion import CompletionStream, completion_body
from inglenook.dialects.openai.requests import Parsed, parse_chat, parse_completion
from inglenook.dialects.openai.schemas import chat_schema, completion_schema
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.paths import named_by_path
from inglenook.server.respond import json_response, stream_response, whole_response
from inglenook.server.sse import EVENTS, StreamEncoder
from inglenook.server.state import ServerState, state_of
from inglenook.server.warning_header import unknown_fields_warning
from inglenook.types import Delta


async def list_models(request: Request) -> Response:
    dialect = anthropic if anthropic.is_asked(request.headers) else openai
    return json_response(dialect.model_list_body(state_of(request).router.models()))


async def get_model(request: Request) -> Response:
    dialect = anthropic if anthropic.is_asked(request.headers) else openai
    return json_response(dialect.model_body(state_of(request).router.model(request.path_params["model_id"])))


async def chat_completions(request: Request) -> Response:
    state = state_of(request)
    parsed = named_by_path(request.scope, parse_chat(await read_body(request), openai.new_id("chatcmpl")))
    head = _head(state, parsed)
    deltas = state.router.chat(parsed.request)
    stream = partial(ChatStream, call_form=parsed.call_form)
    return await _respond(request, parsed, deltas, head, stream, partial(chat_body, call_form=parsed.call_form))


async def completions(request: Request) -> Response:
    state = state_of(request)
    parsed = named_by_path(request.scope, parse_completion(await read_body(request), openai.new_id("cmpl")))
    head = _head(state, parsed)
    deltas = state.router.complete(parsed.request)
    return await _respond(request, parsed, deltas, head, CompletionStream, completion_body)


async def _respond(
    request: Request,
    parsed: Parsed[Any],
    deltas: AsyncGenerator[Delta, None],
    head: openai.AnswerHead,
    stream: Callable[..., StreamEncoder],
    whole: Callable[..., bytes],
) -> Response:
    if parsed.stream:
        return stream_response(request, deltas, stream(head), warnings=head.warnings)
    return await whole_response(request, deltas, partial(whole, head), warnings=head.warnings)


def _head(state: ServerState, parsed: Parsed[Any]) -> openai.AnswerHead:
    model = state.router.resolve(parsed.request.model)
    asked = parsed.request.model or model  # clients look for the name that they sent
    return openai.AnswerHead(
        parsed.answer_id,
        int(time.time()),
        asked,
        f"inglenook-{state.version}",
        (*unknown_fields_warning(parsed.unknown_fields), *parsed.warnings),
        replace(parsed.wanted, usage_details=state.settings.usage_details),
        parsed.request.num_choices,
    )


_CHAT = Operation("Answer a conversation.", wire.ChatCompletion, chat_schema, {EVENTS.content_type: wire.ChatChunk})
ROUTES = [
    ApiRoute(
        "GET",
        "/models",
        list_models,
        Operation("The models that are served.", (wire.ModelList, anthropic_wire.ModelList)),
    ),
    # ids may hold slashes
    ApiRoute(
        "GET",
        "/models/{model_id:path}",
        get_model,
        Operation("One of them.", (wire.ModelBody, anthropic_wire.ModelBody)),
    ),
    ApiRoute("POST", "/chat/completions", chat_completions, _CHAT),
    ApiRoute(
        "POST",
        "/completions",
        completions,
        Operation("Continue prompts.", wire.Completion, completion_schema, {EVENTS.content_type: wire.CompletionChunk}),
    ),
]
