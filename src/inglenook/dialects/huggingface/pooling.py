"""Feature extraction and sentence similarity, as the hosted API and its embedding servers have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.json_fields import Fields, expected
from inglenook.dialects.openai.answers import encode_json
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Embeddings, EmbedRequest, ScoreRequest, Scores, TruncationSide

MAX_INPUTS = 1024

_SIDES: Mapping[str, TruncationSide] = {"left": "left", "right": "right"}


def is_similarity(fields: Fields) -> bool:
    return isinstance(fields.get("inputs"), dict)


def read_embed(fields: Fields, request_id: str, *, model: str) -> tuple[EmbedRequest, tuple[str, ...]]:
    """The request and the names of fields that nobody knows. Parameters stand in the body or in `parameters`."""
    inputs = fields.strings("inputs")
    _check_number("inputs", len(inputs))
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
    inputs = Fields(fields.object("inputs"), "inputs.")
    source = inputs.string("source_sentence", None)
    if source is None:
        raise InvalidRequestError("inputs.source_sentence is missing.", param="inputs.source_sentence")
    sentences = inputs.get("sentences")
    if not isinstance(sentences, list):
        raise expected("inputs.sentences", "a list of strings", sentences)
    _check_number("inputs.sentences", len(sentences))
    given = Fields({**fields.object("parameters"), **fields.unread()})
    truncates = given.boolean("truncate", False)
    pairs = tuple((source, sentence) for sentence in inputs.strings("sentences"))
    request = ScoreRequest(request_id, model, truncate_prompt_tokens=-1 if truncates else None, pairs=pairs)
    return request, _unknown(given)


def vectors_body(answer: Embeddings) -> bytes:
    """A list of floats for each input, of a single one too."""
    return encode_json(answer.vectors.tolist())


def scores_body(answer: Scores) -> bytes:
    return encode_json([float(score) for score in answer.scores])


def _check_number(name: str, number: int) -> None:
    if not 1 <= number <= MAX_INPUTS:
        raise InvalidRequestError(f"{name} has {number} texts; it must have between 1 and {MAX_INPUTS}.", param=name)


def _unknown(given: Fields) -> tuple[str, ...]:
    without_effect: Any = ("options", "model", "stream", "task")
    return tuple(name for name, value in given.unread().items() if name not in without_effect and value is not None)
