"""Routes that show what a model is given, without generating: prompts, tokens, counts. Each with and without /v1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects import tokenization
from inglenook.dialects import tokenization_wire as wire
from inglenook.dialects.openai.requests import Parsed, parse_chat, parse_completion
from inglenook.dialects.openai.schemas import chat_schema, completion_schema, detokenize_schema, tokenize_schema
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import json_response
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header
from inglenook.types import RenderedPrompt


async def tokenize(request: Request) -> Response:
    state = state_of(request)
    call = tokenization.parse_tokenize(await read_body(request))
    [prompt] = await state.router.render(call.request, with_tokens=call.needs_tokens)
    card = state.router.model(state.router.resolve(call.request.model))
    body = tokenization.tokenize_body(call, prompt, card.max_model_len)
    return _json(body, call.unknown_fields, [prompt])


async def detokenize(request: Request) -> Response:
    state = state_of(request)
    model, token_ids = tokenization.parse_detokenize(await read_body(request))
    return _json(tokenization.detokenize_body(await state.router.detokenize(model, token_ids)))


async def render_chat(request: Request) -> Response:
    return await _render(request, parse_chat, is_chat=True)


async def render_completion(request: Request) -> Response:
    return await _render(request, parse_completion, is_chat=False)


async def apply_template(request: Request) -> Response:
    return await _show(request, tokenization.template_body)


async def count_chat_tokens(request: Request) -> Response:
    return await _show(request, tokenization.count_body)


async def _render(request: Request, parse: Callable[[bytes, str], Parsed[Any]], *, is_chat: bool) -> Response:
    router = state_of(request).router
    parsed = parse(await read_body(request), "render")
    model = router.resolve(parsed.request.model)
    prompts = await router.render(parsed.request)
    body = tokenization.render_body(model, prompts, router.model(model).max_model_len, is_chat=is_chat)
    return _json(body, parsed.unknown_fields, prompts)


async def _show(request: Request, body: Callable[[RenderedPrompt], bytes]) -> Response:
    """Something of a chat's prompt."""
    parsed = parse_chat(await read_body(request), "render")
    [prompt] = await state_of(request).router.render(parsed.request)
    return _json(body(prompt), parsed.unknown_fields, [prompt])


def _json(body: bytes, unknown: tuple[str, ...] = (), prompts: Sequence[RenderedPrompt] = ()) -> Response:
    headers = warning_header(unknown_fields_warning(unknown), prompts)
    return json_response(body, headers)


_TOKENIZED = (wire.VllmTokens, wire.LlamaCppTokens, list[wire.TgiToken])
ROUTES = [
    ApiRoute(
        "POST",
        "/tokenize",
        tokenize,
        Operation("Tokens of a text or a chat.", _TOKENIZED, tokenize_schema, is_versioned=False),
    ),
    ApiRoute(
        "POST",
        "/detokenize",
        detokenize,
        Operation("The text of tokens.", wire.Detokenized, detokenize_schema, is_versioned=False),
    ),
    ApiRoute(
        "POST",
        "/chat/completions/render",
        render_chat,
        Operation("The prompt of a chat.", wire.RenderedBody, chat_schema),
    ),
    ApiRoute(
        "POST",
        "/completions/render",
        render_completion,
        Operation("The prompts of a completion.", list[wire.RenderedBody], completion_schema),
    ),
    ApiRoute(
        "POST",
        "/chat/completions/input_tokens",
        count_chat_tokens,
        Operation("How many tokens a chat has.", wire.InputTokens, chat_schema),
    ),
    ApiRoute(
        "POST",
        "/apply-template",
        apply_template,
        Operation("The prompt of a chat, as llama.cpp has it.", wire.AppliedTemplate, chat_schema, is_versioned=False),
    ),
]
