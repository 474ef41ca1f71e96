"""vLLM's routes for classifiers, and for whatever else a model gives for an input."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.openai.answers import new_id
from inglenook.dialects.pooling.classes import ClassificationList, classify_body, parse_classify
from inglenook.dialects.pooling.schemas import classify_schema, pooling_schema
from inglenook.dialects.pooling.tasks import PoolingList, pooling_body, read_pooling, read_task
from inglenook.errors import UnsupportedTaskError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import awaited, encoded, json_response
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning, warning_header
from inglenook.types import DOES, Classes, Embeddings, EmbedRequest, Task


async def classify(request: Request) -> Response:
    router = state_of(request).router
    call = parse_classify(await read_body(request), new_id("classify"))
    name = call.request.model or router.resolve("", "classify", "score")
    answer = await awaited(request, router.classify(call.request))
    headers = warning_header(unknown_fields_warning(call.unknown_fields), [answer])
    return json_response(classify_body(call, name, int(time.time()), answer), headers)


async def pooling(request: Request) -> Response:
    router = state_of(request).router
    fields = Fields(decode_object(await read_body(request)))
    asked = read_task(fields)
    tasks: tuple[Task, ...] = ("embed", "classify", "score") if asked is None else (asked,)
    name = fields.string("model", "") or router.resolve("", *tasks)
    task = router.model(router.resolve(name)).task
    call = read_pooling(fields, new_id("pool"), task)
    wanted = replace(call.request, model=name)  # what any model is depends on the task
    answer: Embeddings | Classes
    if isinstance(wanted, EmbedRequest):
        answer = await awaited(request, router.embed(wanted))
        num_numbers = answer.vectors.size
    elif asked == "score" and task != "score":
        raise UnsupportedTaskError(f"The model {name!r} {DOES[task]}; task score needs one that ranks.", param="task")
    else:
        answer = await awaited(request, router.classify(wanted))
        num_numbers = len(answer.scores) * len(answer.labels)
    body = await encoded(num_numbers, partial(pooling_body, call, name, int(time.time()), answer))
    return json_response(body, warning_header(unknown_fields_warning(call.unknown_fields), [answer]))


ROUTES = [
    ApiRoute("POST", "/classify", classify, Operation("Classes of texts.", ClassificationList, classify_schema)),
    ApiRoute(
        "POST",
        "/pooling",
        pooling,
        Operation("Vectors, classes or scores of texts, by the model's task.", PoolingList, pooling_schema),
    ),
]
