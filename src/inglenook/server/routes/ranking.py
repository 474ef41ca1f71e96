"""Scores of texts: /rerank of Cohere, Jina and Text Embeddings Inference, /score of vLLM. Each with and without /v1."""

from __future__ import annotations

import time
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.openai.answers import new_id
from inglenook.dialects.pooling.cohere import CohereError
from inglenook.dialects.pooling.ranking import (
    RerankBody,
    RerankCall,
    ScoreList,
    TeiRank,
    parse_rerank,
    parse_score,
    rerank_body,
    score_body,
)
from inglenook.dialects.pooling.schemas import rerank_schema, score_schema
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import awaited, json_response
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header


async def rerank(request: Request) -> Response:
    return await _rerank(request, parse_rerank(await read_body(request), new_id("rerank")), "1")


async def rerank_v2(request: Request) -> Response:
    """Cohere's second version, which doesn't repeat the documents."""
    call = parse_rerank(await read_body(request), new_id("rerank"), returns_documents=False)
    return await _rerank(request, call, "2")


async def _rerank(request: Request, call: RerankCall, api_version: str) -> Response:
    router = state_of(request).router
    name = call.request.model or router.resolve("", "score", "embed")
    answer = await awaited(request, router.score(call.request))
    headers = warning_header(unknown_fields_warning(call.unknown_fields), [answer])
    return json_response(rerank_body(call, name, answer, api_version=api_version), headers)


async def score(request: Request) -> Response:
    router = state_of(request).router
    call = parse_score(await read_body(request), new_id("score"))
    name = call.request.model or router.resolve("", "score", "embed")
    answer = await awaited(request, router.score(call.request))
    headers = warning_header(unknown_fields_warning(call.unknown_fields), [answer])
    return json_response(score_body(call, name, int(time.time()), answer), headers)


_RERANK = Operation("Documents by how well they answer a query.", (RerankBody, list[TeiRank]), rerank_schema)
ROUTES = [
    ApiRoute("POST", "/rerank", rerank, _RERANK),
    ApiRoute("POST", "/reranking", rerank, _RERANK, name="reranking"),  # llama.cpp's second name for it
    ApiRoute("POST", "/v2/rerank", rerank_v2, replace(_RERANK, is_versioned=False, error=CohereError)),
    ApiRoute("POST", "/score", score, Operation("How well texts match.", ScoreList, score_schema)),
]
