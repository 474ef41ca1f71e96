"""Vectors of texts: OpenAI's route and llama.cpp's. Each exists with and without /v1 (see paths.py)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.openai.answers import new_id
from inglenook.dialects.pooling.embeddings import EmbeddingList, LlamaEmbedding, embedding_body, parse_embedding
from inglenook.dialects.pooling.schemas import embedding_schema
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.paths import named_by_path
from inglenook.server.respond import awaited, encoded, json_response
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header


async def embeddings(request: Request) -> Response:
    router = state_of(request).router
    call = named_by_path(request.scope, parse_embedding(await read_body(request), new_id("embd")))
    name = call.request.model or router.resolve("", "embed")  # clients look for the name that they sent
    answer = await awaited(request, router.embed(call.request))
    warnings = unknown_fields_warning(call.unknown_fields)
    body = await encoded(answer.vectors.size, partial(embedding_body, call, name, answer, warnings))
    return json_response(body, warning_header(warnings, [answer]))


_OPERATION = Operation("Vectors of texts.", (EmbeddingList, list[LlamaEmbedding]), embedding_schema)
ROUTES = [
    ApiRoute("POST", "/embeddings", embeddings, _OPERATION),
    ApiRoute("POST", "/embedding", embeddings, replace(_OPERATION, is_versioned=False), name="llama_cpp_embedding"),
]
