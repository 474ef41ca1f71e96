"""Feature extraction, sentence similarity and text classification, as the hosted API has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.pooling.classes import read_classify_options
from inglenook.dialects.pooling.embeddings import read_embed_options, read_inputs
from inglenook.dialects.pooling.fields import check_number, read_shared, refuse_or_report
from inglenook.dialects.pooling.tei import Prediction, predictions, read_sentences
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Classes, ClassFunction, ClassifyRequest, EmbedRequest, ScoreRequest

_FUNCTIONS: tuple[ClassFunction, ...] = ("sigmoid", "softmax", "none")
_WITHOUT_EFFECT = frozenset(("options", "stream", "task", "model"))  # the model is read before


def is_similarity(fields: Fields) -> bool:
    return isinstance(fields.get("inputs"), dict)


def read_embed(fields: Fields, request_id: str, *, model: str) -> tuple[EmbedRequest, tuple[str, ...]]:
    """The request and the names of fields that nobody knows."""
    inputs = read_inputs(fields, "inputs")
    given = _parameters(fields)
    if given.string("encoding_format", "float") != "float":
        raise UnsupportedParameterError(
            "encoding_format: only float is supported here; /v1/embeddings gives base64.", param="encoding_format"
        )
    request = EmbedRequest(inputs=inputs, **{**read_embed_options(given, request_id), "model": model})
    return request, refuse_or_report(given.unread())


def read_similarity(fields: Fields, request_id: str, *, model: str) -> tuple[ScoreRequest, tuple[str, ...]]:
    """{"inputs": {"source_sentence", "sentences"}}: a score for each of the sentences."""
    pairs = read_sentences(fields.object("inputs"))
    given = _parameters(fields)
    request = ScoreRequest(pairs=pairs, **{**read_shared(given, request_id), "model": model})
    return request, refuse_or_report(given.unread())


@dataclass(frozen=True)
class ClassificationCall:
    """A request with how many classes are wanted of each input, at most; None: all."""

    request: ClassifyRequest
    top_k: int | None
    unknown_fields: tuple[str, ...]


def read_classification(fields: Fields, request_id: str, *, model: str) -> ClassificationCall:
    """A text or a list of them."""
    inputs = fields.strings("inputs")
    check_number("inputs", inputs)
    given = _parameters(fields)
    if given.get("candidate_labels") is not None:
        raise UnsupportedParameterError(
            "candidate_labels: zero-shot classification is not supported; a classifier has labels of its own.",
            param="candidate_labels",
        )
    top_k = given.integer("top_k", None)
    if top_k is not None and top_k < 1:
        raise InvalidRequestError(f"top_k is {top_k}; it must be at least 1.", param="top_k")
    options = {**read_classify_options(given, request_id), "model": model}
    function = cast("ClassFunction | None", given.choice("function_to_apply", None, _FUNCTIONS))
    if function is not None:
        options["function"] = function
    return ClassificationCall(ClassifyRequest(inputs=inputs, **options), top_k, refuse_or_report(given.unread()))


def classification_body(call: ClassificationCall, answer: Classes) -> bytes:
    """For each input, of a single one too, its classes, the likeliest first."""
    found: list[list[Prediction]] = predictions(answer, call.top_k)
    return encode_json(found)


def _parameters(fields: Fields) -> Fields:
    """They stand in the body or in `parameters`."""
    given = {**fields.object("parameters"), **fields.unread()}
    return Fields({name: value for name, value in given.items() if name not in _WITHOUT_EFFECT})
