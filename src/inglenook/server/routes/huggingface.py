"""Text Generation Inference's routes, and those of the hosted API: a model's task decides what POST / does."""

from __future__ import annotations

import re
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.huggingface import answers as huggingface
from inglenook.dialects.huggingface import pooling as huggingface_pooling
from inglenook.dialects.huggingface import wire
from inglenook.dialects.huggingface.requests import Call, read_generate
from inglenook.dialects.huggingface.schemas import compat_schema, generate_schema
from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.openai.answers import new_id
from inglenook.dialects.pooling import tei
from inglenook.dialects.pooling.fields import MAX_INPUTS
from inglenook.errors import InvalidRequestError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import awaited, encoded, json_response, stream_response, whole_response
from inglenook.server.sse import EVENTS
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header
from inglenook.types import MAX_CHOICES, MAX_STOP_STRINGS

_PIPELINE = re.compile("/pipeline/[^/]+$")  # behind a model's name: a task, which the model has anyway


async def compat(request: Request) -> Response:
    """POST / and the hosted API's paths: lists of answers, or a stream where the body says so."""
    state = state_of(request)
    fields = Fields(decode_object(await read_body(request)))
    model: str = request.path_params.get("model_id", "") or fields.string("model", "")
    model = _PIPELINE.sub("", model)
    task = state.router.model(state.router.resolve(model)).task
    if huggingface_pooling.is_similarity(fields):
        return await _compare(request, fields, model)
    if task == "embed":
        return await _embed(request, fields, model)
    if task in ("classify", "score"):
        return await _classify(request, fields, model)
    call = read_generate(fields, new_id("tgi"), model=model, is_compat=True)
    return _stream(request, call) if call.stream else await _whole(request, call, is_list=True)


async def generate(request: Request) -> Response:
    call = await _read(request)
    if call.parameters.num_results > 1:
        raise InvalidRequestError(
            "num_return_sequences above 1 needs a list of answers: POST / gives one.",
            param="parameters.num_return_sequences",
        )
    return await _whole(request, call, is_list=False)


async def generate_stream(request: Request) -> Response:
    return _stream(request, await _read(request, is_stream=True))


async def info(request: Request) -> Response:
    state = state_of(request)
    card = state.router.model(state.router.resolve(""))
    body = huggingface.info_body(
        card,
        state.version,
        max_choices=MAX_CHOICES,
        max_stop_strings=MAX_STOP_STRINGS,
        max_inputs=MAX_INPUTS,
    )
    return json_response(body)


async def _read(request: Request, *, is_stream: bool = False) -> Call:
    """What `stream` says has no effect where the path says it."""
    fields = Fields(decode_object(await read_body(request)))
    return read_generate(fields, new_id("tgi"), model=fields.string("model", ""), is_compat=False, is_stream=is_stream)


async def _whole(request: Request, call: Call, *, is_list: bool) -> Response:
    deltas = state_of(request).router.complete(call.request)
    encode = partial(huggingface.generated_body, call, is_list=is_list)
    return await whole_response(request, deltas, encode, warnings=unknown_fields_warning(call.unknown_fields))


def _stream(request: Request, call: Call) -> Response:
    if call.request.num_choices > 1:
        name = "best_of" if call.parameters.best_of > 1 else "num_return_sequences"
        raise InvalidRequestError(f"{name} above 1 can't be streamed.", param=f"parameters.{name}")
    if call.parameters.with_prefill:
        raise InvalidRequestError("decoder_input_details can't be streamed.", param="parameters.decoder_input_details")
    deltas = state_of(request).router.complete(call.request)
    encoder = huggingface.GenerateStream(call)
    return stream_response(request, deltas, encoder, warnings=unknown_fields_warning(call.unknown_fields))


async def _embed(request: Request, fields: Fields, model: str) -> Response:
    texts, unknown = huggingface_pooling.read_embed(fields, new_id("embed"), model=model)
    answer = await awaited(request, state_of(request).router.embed(texts))
    body = await encoded(answer.vectors.size, partial(tei.vectors_body, answer))
    return json_response(body, warning_header(unknown_fields_warning(unknown), [answer]))


async def _compare(request: Request, fields: Fields, model: str) -> Response:
    pairs, unknown = huggingface_pooling.read_similarity(fields, new_id("score"), model=model)
    answer = await awaited(request, state_of(request).router.score(pairs))
    return json_response(tei.similarities_body(answer), warning_header(unknown_fields_warning(unknown), [answer]))


async def _classify(request: Request, fields: Fields, model: str) -> Response:
    call = huggingface_pooling.read_classification(fields, new_id("classify"), model=model)
    answer = await awaited(request, state_of(request).router.classify(call.request))
    body = huggingface_pooling.classification_body(call, answer)
    return json_response(body, warning_header(unknown_fields_warning(call.unknown_fields), [answer]))


_EVENTS = {EVENTS.content_type: wire.StreamEvent}
_STATUSES = (405, 422, 424)
_generate = partial(Operation, statuses=_STATUSES, error=wire.ErrorBody, is_versioned=False)
_LISTS = (list[wire.Generated], list[list[float]], list[float], list[list[tei.Prediction]])  # by the model's task
_COMPAT = _generate("Generated text, vectors, scores or classes, as a list.", _LISTS, compat_schema, _EVENTS)
ROUTES = [
    ApiRoute("POST", "/", compat, _COMPAT),
    ApiRoute("POST", "/generate", generate, _generate("Generated text.", wire.Generated, generate_schema)),
    ApiRoute(
        "POST",
        "/generate_stream",
        generate_stream,
        _generate("Generated text, token by token.", None, generate_schema, _EVENTS),
    ),
    ApiRoute("GET", "/info", info, _generate("What is served.", wire.Info)),
    ApiRoute("POST", "/models/{model_id:path}", compat, _COMPAT, name="hosted"),
    ApiRoute("POST", "/pipeline/{task}/{model_id:path}", compat, _COMPAT, name="pipeline"),
]
