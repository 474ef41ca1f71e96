"""Cohere's POST /v2/embed. Its first version's path is Text Embeddings Inference's, too: see tei.py."""

from __future__ import annotations

from functools import partial
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.openai.answers import new_id
from inglenook.dialects.pooling.cohere import CohereError, EmbedAnswer, cohere_body, read_cohere
from inglenook.dialects.pooling.schemas import cohere_schema
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import awaited, encoded, json_response
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header


async def embed_v2(request: Request) -> Response:
    return await cohere_embed(request, Fields(decode_object(await read_body(request))), "2")


async def cohere_embed(request: Request, fields: Fields, version: Literal["1", "2"]) -> Response:
    call = read_cohere(fields, new_id("embd"), version)
    answer = await awaited(request, state_of(request).router.embed(call.request))
    warnings = unknown_fields_warning(call.unknown_fields)
    body = await encoded(answer.vectors.size, partial(cohere_body, call, answer, warnings))
    return json_response(body, warning_header(warnings, [answer]))


_OPERATION = Operation("Vectors of texts.", EmbedAnswer, cohere_schema, error=CohereError, is_versioned=False)
ROUTES = [ApiRoute("POST", "/v2/embed", embed_v2, _OPERATION)]
