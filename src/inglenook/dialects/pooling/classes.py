"""Requests that sort texts into classes and their answers, as vLLM has them: POST /classify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct

from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.pooling.embeddings import PoolingUsage, pooling_usage, read_inputs
from inglenook.dialects.pooling.fields import read_shared, refuse_or_report
from inglenook.dialects.pooling.ranking import read_raw
from inglenook.types import Classes, ClassifyRequest


@dataclass(frozen=True)
class ClassifyCall:
    request: ClassifyRequest
    unknown_fields: tuple[str, ...] = ()


def parse_classify(body: bytes, request_id: str) -> ClassifyCall:
    """Body of POST /classify. Raises InvalidRequestError, naming the field."""
    return read_classify(Fields(decode_object(body)), request_id)


def read_classify(fields: Fields, request_id: str) -> ClassifyCall:
    request = ClassifyRequest(inputs=read_inputs(fields, "input"), **read_classify_options(fields, request_id))
    return ClassifyCall(request, refuse_or_report(fields.unread()))


def read_classify_options(fields: Fields, request_id: str) -> dict[str, Any]:
    """Of a ClassifyRequest all but the inputs."""
    return {
        **read_shared(fields, request_id),
        "function": "none" if read_raw(fields) else None,
        "add_special_tokens": fields.boolean("add_special_tokens", True),
    }


class Classification(Struct):
    """`label` is that of the largest of `probs`, which are in the order of the model's labels."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class ClassificationList(Struct):
    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Classification]
    usage: PoolingUsage


def classify_body(call: ClassifyCall, model: str, created: int, answer: Classes) -> bytes:
    """`model` is the name that was asked for."""
    data = [
        Classification(index, answer.labels[likeliest(scores)], list(scores), len(scores))
        for index, scores in enumerate(answer.scores)
    ]
    request_id = call.request.request_id
    return encode_json(ClassificationList(request_id, "list", created, model, data, pooling_usage(answer.usage)))


def likeliest(scores: Sequence[float]) -> int:
    """The first of the largest."""
    return max(range(len(scores)), key=lambda index: scores[index])
