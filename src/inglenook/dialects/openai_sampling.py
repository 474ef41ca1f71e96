"""Fields of OpenAI's requests that other servers have added: which tokens may be chosen, and when an answer ends."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.errors import InvalidRequestError
from inglenook.types import RepetitionDetection, SamplingParams


def extra_sampling(fields: Fields) -> dict[str, Any]:
    """Fields of SamplingParams. Raises InvalidRequestError, naming the field."""
    default = SamplingParams()
    return {
        "typical_p": fields.number("typical_p", default.typical_p),
        "allowed_token_ids": _allowed_token_ids(fields),
        "bad_words": fields.strings("bad_words"),
        "repetition_detection": parse_repetition_detection(fields),
        "max_generation_s": _max_generation_s(fields),
    }


def parse_cache_salt(fields: Fields) -> str:
    salt = fields.string("cache_salt", None)
    if salt == "":
        raise InvalidRequestError(
            "cache_salt is empty; it must be a string of a character at least.", param="cache_salt"
        )
    return salt or ""


def _allowed_token_ids(fields: Fields) -> tuple[int, ...] | None:
    return None if fields.get("allowed_token_ids") is None else fields.token_ids("allowed_token_ids")


def parse_repetition_detection(fields: Fields) -> RepetitionDetection | None:
    """Raises InvalidRequestError, naming what is wrong."""
    if fields.get("repetition_detection") is None:
        return None
    name = "repetition_detection"
    values = Fields(fields.object(name), f"{name}.")
    default = RepetitionDetection()
    detection = RepetitionDetection(
        values.integer("max_pattern_size", default.max_pattern_size),
        values.integer("min_pattern_size", default.min_pattern_size),
        values.integer("min_count", default.min_count),
    )
    if values.unread():
        unknown = ", ".join(sorted(values.unread()))
        raise InvalidRequestError(
            f"{name} knows max_pattern_size, min_pattern_size and min_count, and not {unknown}.", param=name
        )
    return detection


def _max_generation_s(fields: Fields) -> float | None:
    """llama.cpp's field; there, too, 0 and less mean no limit."""
    milliseconds = fields.integer("t_max_predict_ms", 0)
    return milliseconds / 1000 if milliseconds > 0 else None
