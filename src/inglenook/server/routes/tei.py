"""Text Embeddings Inference's routes. Its /rerank is in ranking.py, POST / in huggingface.py."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.huggingface.wire import ErrorBody
from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.openai.answers import new_id
from inglenook.dialects.pooling import tei
from inglenook.dialects.pooling.cohere import CohereError, EmbedAnswer
from inglenook.dialects.pooling.schemas import embed_schema, predict_schema, similarity_schema
from inglenook.errors import NotServedError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import awaited, encoded, json_response
from inglenook.server.routes.cohere import cohere_embed
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header


async def embed(request: Request) -> Response:
    """A body with `texts` is Cohere's first version's."""
    fields = Fields(decode_object(await read_body(request)))
    if fields.get("texts") is not None:
        request.scope["path"] = "/v2/embed"  # whose shape errors have
        return await cohere_embed(request, fields, "1")
    call = tei.read_embed(fields, new_id("embed"))
    answer = await awaited(request, state_of(request).router.embed(call.request))
    body = await encoded(answer.vectors.size, partial(tei.vectors_body, answer))
    return json_response(body, warning_header(unknown_fields_warning(call.unknown_fields), [answer]))


async def embed_all(request: Request) -> Response:
    raise NotServedError(
        "/embed_all isn't answered here: this server makes one vector of an input. POST /embed gives it."
    )


async def similarity(request: Request) -> Response:
    call = tei.parse_similarity(await read_body(request), new_id("score"))
    answer = await awaited(request, state_of(request).router.score(call.request))
    headers = warning_header(unknown_fields_warning(call.unknown_fields), [answer])
    return json_response(tei.similarities_body(answer), headers)


async def predict(request: Request) -> Response:
    call = tei.parse_predict(await read_body(request), new_id("classify"))
    answer = await awaited(request, state_of(request).router.classify(call.request))
    headers = warning_header(unknown_fields_warning(call.unknown_fields), [answer])
    return json_response(tei.predict_body(call, answer), headers)


_operation = partial(Operation, statuses=(422, 424), error=ErrorBody)
_EMBED = (list[list[float]], EmbedAnswer)
_PREDICT = (list[tei.Prediction], list[list[tei.Prediction]])
ROUTES = [
    ApiRoute(
        "POST",
        "/embed",
        embed,
        Operation("Vectors of texts.", _EMBED, embed_schema, statuses=(422, 424), error=(ErrorBody, CohereError)),
    ),
    ApiRoute("POST", "/embed_all", embed_all, Operation("Not answered by this server.", ErrorBody, status=501)),
    ApiRoute("POST", "/similarity", similarity, _operation("How like texts are.", list[float], similarity_schema)),
    ApiRoute("POST", "/predict", predict, _operation("Classes of texts, or of pairs.", _PREDICT, predict_schema)),
]
