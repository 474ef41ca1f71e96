"""Feature extraction, sentence similarity and text classification, as the hosted API has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.pooling.fields import check_number
from inglenook.dialects.pooling.tei import Prediction, predictions, read_sentences
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Classes, ClassFunction, ClassifyRequest, EmbedRequest, ScoreRequest, TruncationSide

_FUNCTIONS: tuple[ClassFunction, ...] = ("sigmoid", "softmax", "none")
_SIDES: Mapping[str, TruncationSide] = {"left": "left", "right": "right"}


def is_similarity(fields: Fields) -> bool:
    return isinstance(fields.get("inputs"), dict)


def read_embed(fields: Fields, request_id: str, *, model: str) -> tuple[EmbedRequest, tuple[str, ...]]:
    """The request and the names of fields that nobody knows. Parameters stand in the body or in `parameters`."""
    inputs = fields.strings("inputs")
    check_number("inputs", inputs)
    given = Fields({**fields.object("parameters"), **fields.unread()})
    if given.string("encoding_format", "float") != "float":
        raise UnsupportedParameterError(
            "encoding_format: only float is supported here; /v1/embeddings gives base64.", param="encoding_format"
        )
    side = given.string("truncation_direction", "right")
    if side.lower() not in _SIDES:
        raise InvalidRequestError("truncation_direction must be left or right.", param="truncation_direction")
    request = EmbedRequest(
        request_id,
        model,
        truncate_prompt_tokens=-1 if given.boolean("truncate", False) else None,
        truncation_side=_SIDES[side.lower()],
        inputs=inputs,
        dimensions=given.integer("dimensions", None),
        prompt_name=given.string("prompt_name", None),
        is_normalized=given.boolean("normalize", None),
    )
    return request, _unknown(given)


def read_similarity(fields: Fields, request_id: str, *, model: str) -> tuple[ScoreRequest, tuple[str, ...]]:
    """{"inputs": {"source_sentence", "sentences"}}: a score for each of the sentences."""
    pairs = read_sentences(fields.object("inputs"))
    given = Fields({**fields.object("parameters"), **fields.unread()})
    truncates = given.boolean("truncate", False)
    request = ScoreRequest(request_id, model, truncate_prompt_tokens=-1 if truncates else None, pairs=pairs)
    return request, _unknown(given)


@dataclass(frozen=True)
class ClassificationCall:
    """A request with how many classes are wanted of each input, at most; None: all."""

    request: ClassifyRequest
    top_k: int | None
    unknown_fields: tuple[str, ...]


def read_classification(fields: Fields, request_id: str, *, model: str) -> ClassificationCall:
    """A text or a list of them. Parameters stand in the body or in `parameters`."""
    inputs = fields.strings("inputs")
    check_number("inputs", inputs)
    given = Fields({**fields.object("parameters"), **fields.unread()})
    if given.get("candidate_labels") is not None:
        raise UnsupportedParameterError(
            "candidate_labels: zero-shot classification is not supported; a classifier has labels of its own.",
            param="candidate_labels",
        )
    top_k = given.integer("top_k", None)
    if top_k is not None and top_k < 1:
        raise InvalidRequestError(f"top_k is {top_k}; it must be at least 1.", param="top_k")
    truncates = given.boolean("truncate", False)
    request = ClassifyRequest(
        request_id,
        model,
        truncate_prompt_tokens=-1 if truncates else None,
        inputs=inputs,
        function=cast("ClassFunction | None", given.choice("function_to_apply", None, _FUNCTIONS)),
    )
    return ClassificationCall(request, top_k, _unknown(given))


def classification_body(call: ClassificationCall, answer: Classes) -> bytes:
    """For each input, of a single one too, its classes, the likeliest first."""
    found: list[list[Prediction]] = predictions(answer, call.top_k)
    return encode_json(found)


def _unknown(given: Fields) -> tuple[str, ...]:
    without_effect: Any = ("options", "model", "stream", "task")
    return tuple(name for name, value in given.unread().items() if name not in without_effect and value is not None)
