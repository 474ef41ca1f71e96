"""Routes that show what a model is given, without generating: prompts, tokens, counts. Each with and without /v1."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inglenook.dialects import tokenization
from inglenook.dialects.openai_requests import parse_chat, parse_completion
from inglenook.server.body import read_body
from inglenook.server.state import ServerState, state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header
from inglenook.types import Delta, RenderedPrompt


async def tokenize(request: Request) -> Response:
    state = state_of(request)
    call = tokenization.parse_tokenize(await _body(request, state))
    [prompt] = await state.router.render(call.request, with_tokens=call.needs_tokens)
    body = tokenization.tokenize_body(call, prompt, _max_model_len(state, call.request.model))
    return _json(body, call.unknown_fields, [prompt])


async def detokenize(request: Request) -> Response:
    state = state_of(request)
    model, token_ids = tokenization.parse_detokenize(await _body(request, state))
    return _json(tokenization.detokenize_body(await state.router.detokenize(model, token_ids)))


async def render_chat(request: Request) -> Response:
    state = state_of(request)
    parsed = parse_chat(await _body(request, state), "render")
    model = state.router.resolve(parsed.request.model)
    prompts = await state.router.render(parsed.request)
    body = tokenization.render_body(model, prompts, _max_model_len(state, model), is_chat=True)
    return _json(body, parsed.unknown_fields, prompts)


async def render_completion(request: Request) -> Response:
    state = state_of(request)
    parsed = parse_completion(await _body(request, state), "render")
    model = state.router.resolve(parsed.request.model)
    prompts = await state.router.render(parsed.request)
    body = tokenization.render_body(model, prompts, _max_model_len(state, model), is_chat=False)
    return _json(body, parsed.unknown_fields, prompts)


async def apply_template(request: Request) -> Response:
    state = state_of(request)
    parsed = parse_chat(await _body(request, state), "render")
    [prompt] = await state.router.render(parsed.request)
    return _json(tokenization.template_body(prompt), parsed.unknown_fields, [prompt])


async def count_tokens(request: Request) -> Response:
    state = state_of(request)
    parsed = parse_chat(await _body(request, state), "count")
    [prompt] = await state.router.render(parsed.request)
    return _json(tokenization.count_body(prompt), parsed.unknown_fields, [prompt])


async def _body(request: Request, state: ServerState) -> bytes:
    return await read_body(request, state.settings.max_body_mib * 2**20)


def _max_model_len(state: ServerState, model: str) -> int:
    return state.router.model(state.router.resolve(model)).max_model_len


def _json(body: bytes, unknown: tuple[str, ...] = (), prompts: list[RenderedPrompt] | None = None) -> Response:
    changes = [Delta(warnings=prompt.warnings) for prompt in prompts or []]
    return Response(
        body, headers=warning_header(unknown_fields_warning(unknown), changes), media_type="application/json"
    )


ROUTES = [
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/chat/completions/render", render_chat, methods=["POST"]),
    Route("/completions/render", render_completion, methods=["POST"]),
    Route("/chat/completions/input_tokens", count_tokens, methods=["POST"]),
    Route("/apply-template", apply_template, methods=["POST"]),
]
