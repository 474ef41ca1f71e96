"""Ollama's routes that answer: chat, generate and embeddings. Its models are in ollama_models.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.ollama import answers as ollama
from inglenook.dialects.ollama import wire
from inglenook.dialects.ollama.models import spellings
from inglenook.dialects.ollama.requests import (
    EmbedCall,
    OllamaCall,
    parse_chat,
    parse_embed,
    parse_embeddings,
    parse_generate,
)
from inglenook.dialects.ollama.schemas import chat_schema, embed_schema, embeddings_schema, generate_schema
from inglenook.dialects.openai.answers import new_id
from inglenook.errors import ModelNotFoundError
from inglenook.gateway.router import Router
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import awaited, encoded, json_response, stream_response, whole_response
from inglenook.server.sse import Event, Framing
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header
from inglenook.types import ChatRequest, CompletionRequest, Embeddings, Task

_NDJSON = "application/x-ndjson"


def _frame(events: Sequence[Event]) -> bytes:
    return b"".join(b"%b\n" % event for event in events if isinstance(event, bytes))


LINES = Framing(_NDJSON, _frame)


def resolve(router: Router, name: str, task: Task = "generate") -> str:
    """The model that is meant. Raises ModelNotFoundError, in the words that Ollama's clients look for."""
    known = next((spelling for spelling in spellings(name) if router.knows(spelling)), name)
    try:
        return router.resolve(known, task)
    except ModelNotFoundError:
        raise ModelNotFoundError(f"model '{name[:100]}' not found", param="model") from None


async def ollama_chat(request: Request) -> Response:
    start_ns = ollama.clock_ns()
    return await _answer(request, parse_chat(await read_body(request), new_id("ollama")), start_ns, is_chat=True)


async def ollama_generate(request: Request) -> Response:
    start_ns = ollama.clock_ns()
    call = parse_generate(await read_body(request), new_id("ollama"))
    if call.context and isinstance(call.request, ChatRequest):
        call = replace(call, request=await _going_on(state_of(request).router, call.request, call.context))
    return await _answer(request, call, start_ns, is_chat=False)


async def _going_on(router: Router, request: ChatRequest, context: tuple[int, ...]) -> CompletionRequest:
    """The tokens of earlier turns, then this turn's prompt."""
    [prompt] = await router.render(replace(request, model=resolve(router, request.model)))
    return CompletionRequest(
        request.request_id,
        request.model,
        request.sampling,
        model_defaulted=request.model_defaulted,
        constraint=request.constraint,
        truncate_prompt_tokens=request.truncate_prompt_tokens,
        max_total_tokens=request.max_total_tokens,
        prompts=((*context, *prompt.token_ids),),
    )


async def _answer(request: Request, call: OllamaCall, start_ns: int, *, is_chat: bool) -> Response:
    router = state_of(request).router
    model = resolve(router, call.model)
    warnings = unknown_fields_warning(call.unknown_fields) + call.warnings
    if call.request is None:
        body = ollama.loaded_body(call.model, is_chat=is_chat, is_unload=call.is_unload)
        if call.is_unload:
            warnings += ("The model stays loaded: this server unloads none.",)
        return json_response(body, warning_header(warnings, ()))
    head = ollama.AnswerHead(call.model, is_chat, start_ns)
    named = replace(call.request, model=model)
    deltas = router.chat(named) if isinstance(named, ChatRequest) else router.complete(named)
    if call.stream:
        return stream_response(request, deltas, ollama.AnswerStream(head), warnings=warnings, framing=LINES)
    return await whole_response(request, deltas, partial(ollama.answer_body, head), warnings=warnings)


# --- embeddings -----------------------------------------------------------------------------------


async def ollama_embed(request: Request) -> Response:
    start_ns = ollama.clock_ns()
    call = parse_embed(await read_body(request), new_id("ollama"))
    embeddings = await _embeddings(request, call)
    num_numbers = 0 if embeddings is None else embeddings.vectors.size
    body = await encoded(num_numbers, partial(ollama.embed_body, call.model, embeddings, start_ns))
    return json_response(body, _embed_headers(call, embeddings))


async def ollama_embeddings(request: Request) -> Response:
    call = parse_embeddings(await read_body(request), new_id("ollama"))
    embeddings = await _embeddings(request, call)
    return json_response(ollama.embeddings_body(embeddings), _embed_headers(call, embeddings))


async def _embeddings(request: Request, call: EmbedCall) -> Embeddings | None:
    """None where no text was given: Ollama then loads the model."""
    router = state_of(request).router
    model = resolve(router, call.model, "embed")
    if not call.request.inputs:
        return None
    return await awaited(request, router.embed(replace(call.request, model=model)))


def _embed_headers(call: EmbedCall, embeddings: Embeddings | None) -> dict[str, str]:
    warnings = unknown_fields_warning(call.unknown_fields) + (embeddings.warnings if embeddings is not None else ())
    return warning_header(warnings, ())


def _operation(summary: str, answer: object, body: object, *, is_streamed: bool = False) -> Operation:
    events = {_NDJSON: answer} if is_streamed else {}
    return Operation(summary, answer, body, events, error=wire.ErrorBody, is_versioned=False)  # type: ignore[arg-type]


ROUTES = [
    ApiRoute(
        "POST",
        "/api/chat",
        ollama_chat,
        _operation("Answer a conversation, as Ollama does.", wire.ChatAnswer, chat_schema, is_streamed=True),
    ),
    ApiRoute(
        "POST",
        "/api/generate",
        ollama_generate,
        _operation("Answer a prompt, as Ollama does.", wire.GenerateAnswer, generate_schema, is_streamed=True),
    ),
    ApiRoute("POST", "/api/embed", ollama_embed, _operation("Vectors of texts.", wire.EmbedAnswer, embed_schema)),
    ApiRoute(
        "POST",
        "/api/embeddings",
        ollama_embeddings,
        _operation("The vector of a text.", wire.EmbeddingsAnswer, embeddings_schema),
    ),
]
