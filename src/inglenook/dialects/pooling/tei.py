"""Text Embeddings Inference's routes: /embed, /similarity, /predict. Its /rerank is in ranking.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from inglenook.dialects.huggingface.wire import ErrorBody
from inglenook.dialects.json_fields import Fields, decode_object, expected
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.pooling.classes import ClassifyCall, read_classify_options
from inglenook.dialects.pooling.embeddings import read_embed_options, read_inputs
from inglenook.dialects.pooling.fields import (
    NoInputsError,
    TooManyInputsError,
    check_number,
    read_shared,
    refuse_or_report,
)
from inglenook.dialects.pooling.ranking import ranking
from inglenook.dialects.pooling.vectors import lists_of_numbers
from inglenook.errors import (
    ContextLengthError,
    EngineError,
    InglenookError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
    UnsupportedTaskError,
)
from inglenook.types import Classes, ClassifyRequest, Embeddings, EmbedRequest, ScoreRequest, Scores, TextPair

ClassifyInput = str | tuple[int, ...] | TextPair


@dataclass(frozen=True)
class EmbedCall:
    request: EmbedRequest
    unknown_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class SimilarityCall:
    request: ScoreRequest
    unknown_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class PredictCall(ClassifyCall):
    is_batch: bool = False


# --- requests -------------------------------------------------------------------------------------


def read_embed(fields: Fields, request_id: str) -> EmbedCall:
    """Body of POST /embed. Vectors have length 1, unless `normalize` is false. Raises InvalidRequestError."""
    options = read_embed_options(fields, request_id)
    if options["is_normalized"] is None:
        options["is_normalized"] = True
    request = EmbedRequest(inputs=read_inputs(fields, "inputs"), **options)
    return EmbedCall(request, refuse_or_report(fields.unread()))


def parse_similarity(body: bytes, request_id: str) -> SimilarityCall:
    """Body of POST /similarity. Raises InvalidRequestError, naming the field."""
    return read_similarity(Fields(decode_object(body)), request_id)


def read_similarity(fields: Fields, request_id: str) -> SimilarityCall:
    """Options stand in the body or in `parameters`."""
    pairs = read_sentences(fields.object("inputs"))
    given = Fields({**fields.object("parameters"), **fields.unread()})
    request = ScoreRequest(pairs=pairs, **read_shared(given, request_id))
    return SimilarityCall(request, refuse_or_report(given.unread()))


def read_sentences(inputs: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The object `inputs`: a sentence, and those that it is compared with."""
    given = Fields(inputs, "inputs.")
    source = given.string("source_sentence", None)
    if source is None:
        raise InvalidRequestError("inputs.source_sentence is missing.", param="inputs.source_sentence")
    sentences = given.get("sentences")
    if not isinstance(sentences, list):
        raise expected("inputs.sentences", "a list of strings", sentences)
    check_number("inputs.sentences", sentences)
    return tuple((source, sentence) for sentence in given.strings("sentences"))


def parse_predict(body: bytes, request_id: str) -> PredictCall:
    """Body of POST /predict. Raises InvalidRequestError, naming the field."""
    return read_predict(Fields(decode_object(body)), request_id)


def read_predict(fields: Fields, request_id: str) -> PredictCall:
    """A text, a pair of texts, or a list of lists of one or two texts."""
    given = fields.get("inputs")
    is_batch = isinstance(given, list) and bool(given) and isinstance(given[0], list)
    items = given if is_batch else [given]
    check_number("inputs", items)
    inputs = tuple(
        _read_sequence(f"inputs[{index}]" if is_batch else "inputs", item) for index, item in enumerate(items)
    )
    request = ClassifyRequest(inputs=inputs, **read_classify_options(fields, request_id))
    return PredictCall(request, refuse_or_report(fields.unread()), is_batch)


def _read_sequence(where: str, given: Any) -> ClassifyInput:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise expected(where, "a string, or a list of one string or two", given)
    if not 1 <= len(texts) <= 2:
        raise InvalidRequestError(f"{where} has {len(texts)} texts; it must have one, or two.", param=where)
    text: str = texts[0]
    return text if len(texts) == 1 else TextPair(*texts)


# --- answers --------------------------------------------------------------------------------------


class Prediction(Struct):
    label: str
    score: float


def vectors_body(answer: Embeddings) -> bytes:
    return encode_json(lists_of_numbers(answer.vectors))


def similarities_body(answer: Scores) -> bytes:
    return encode_json(list(answer.scores))


def predict_body(call: PredictCall, answer: Classes) -> bytes:
    """The classes of each input, the likeliest first; one list where one input was given as it is."""
    found = predictions(answer)
    return encode_json(found if call.is_batch else found[0])


def predictions(answer: Classes, top_k: int | None = None) -> list[list[Prediction]]:
    return [
        [Prediction(answer.labels[index], scores[index]) for index in ranking(scores)[:top_k]]
        for scores in answer.scores
    ]


def error_shape(error: InglenookError, request_id: str = "") -> tuple[int, bytes]:
    """The status and the body: 413 is what Text Embeddings Inference has for inputs that are too long, or too many."""
    status, kind = _kind(error)
    return status, encode_json(ErrorBody(error.message, kind))


def _kind(error: InglenookError) -> tuple[int, str]:
    if isinstance(error, OverloadedError):
        return 429, "Overloaded"
    if isinstance(error, (EngineError, UnsupportedTaskError)):
        return 424, "Backend"
    if isinstance(error, (ContextLengthError, TooManyInputsError)):
        return 413, "Validation"
    if isinstance(error, NoInputsError):
        return 400, "Empty"
    if isinstance(error, InvalidRequestError):
        return 422, "Validation"
    if isinstance(error, UnavailableError):
        return 503, "Unhealthy"
    return error.status, error.code or error.type
