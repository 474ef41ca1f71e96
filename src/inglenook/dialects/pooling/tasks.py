"""vLLM's POST /pooling: whatever a model gives for an input, in one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from msgspec import Struct

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.pooling.classes import read_classify_options
from inglenook.dialects.pooling.embeddings import (
    PoolingUsage,
    pooling_usage,
    read_embed_options,
    read_encoding_format,
    read_inputs,
)
from inglenook.dialects.pooling.fields import refuse_or_report
from inglenook.dialects.pooling.vectors import EncodingFormat, encoded_vector
from inglenook.errors import UnsupportedParameterError
from inglenook.types import Classes, ClassifyRequest, Embeddings, EmbedRequest, Task

PoolingTask = Literal["embed", "classify", "score"]
TASKS: tuple[PoolingTask, ...] = ("embed", "classify", "score")
REFUSED_TASKS = {
    "token_embed": "this server makes one vector of an input",
    "token_classify": "this server sorts whole inputs into classes",
    "plugin": "this server has no plugins",
}


@dataclass(frozen=True)
class PoolingCall:
    request: EmbedRequest | ClassifyRequest
    encoding_format: EncodingFormat
    unknown_fields: tuple[str, ...] = ()


def read_task(fields: Fields) -> PoolingTask | None:
    """What is asked for; None: what the model gives. Raises UnsupportedParameterError for what no model here gives."""
    name = fields.get("task")
    if isinstance(name, str) and name in REFUSED_TASKS:
        raise UnsupportedParameterError(
            f"task is {name}, but {REFUSED_TASKS[name]}. Tasks are {', '.join(TASKS)}.", param="task"
        )
    return cast("PoolingTask | None", fields.choice("task", None, TASKS))


def read_pooling(fields: Fields, request_id: str, task: Task) -> PoolingCall:
    """`task` is the model's, for requests that name none. Raises InvalidRequestError, naming the field."""
    inputs = read_inputs(fields, "input")
    encoding_format = read_encoding_format(fields)
    request: EmbedRequest | ClassifyRequest
    if (read_task(fields) or task) in ("classify", "score"):
        request = ClassifyRequest(inputs=inputs, **read_classify_options(fields, request_id))
    else:
        request = EmbedRequest(inputs=inputs, **read_embed_options(fields, request_id))
    return PoolingCall(request, encoding_format, refuse_or_report(fields.unread()))


class PoolingItem(Struct):
    index: int
    object: Literal["pooling"]
    data: list[float] | str


class PoolingList(Struct):
    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[PoolingItem]
    usage: PoolingUsage


def pooling_body(call: PoolingCall, model: str, created: int, answer: Embeddings | Classes) -> bytes:
    """`model` is the name that was asked for."""
    import numpy as np

    rows: Sequence[Sequence[float]] | np.ndarray = answer.vectors if isinstance(answer, Embeddings) else answer.scores
    data = [
        PoolingItem(index, "pooling", encoded_vector(np.asarray(row, np.float32), call.encoding_format))
        for index, row in enumerate(rows)
    ]
    request_id = call.request.request_id
    return encode_json(PoolingList(request_id, "list", created, model, data, pooling_usage(answer.usage)))
