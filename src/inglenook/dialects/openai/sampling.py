"""Fields of OpenAI's requests that other servers have added: which tokens may be chosen, and when an answer ends."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.errors import InvalidRequestError
from inglenook.types import MAX_CHOICES, RepetitionDetection, SamplingParams


def extra_sampling(fields: Fields) -> dict[str, Any]:
    """Fields of SamplingParams. Raises InvalidRequestError, naming the field."""
    default = SamplingParams()
    return {
        "typical_p": fields.number("typical_p", default.typical_p),
        "allowed_token_ids": _allowed_token_ids(fields),
        "bad_words": fields.strings("bad_words"),
        "repetition_detection": parse_repetition_detection(fields),
        "max_generation_s": read_max_generation_s(fields),
        "prompt_logprobs": _prompt_logprobs(fields),
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


def _prompt_logprobs(fields: Fields) -> int | None:
    number = fields.integer("prompt_logprobs", None)
    if number is not None and fields.boolean("stream", False):
        raise InvalidRequestError("prompt_logprobs isn't told in streams; leave out stream.", param="prompt_logprobs")
    return number


def read_best_of(fields: Fields, num_choices: int) -> int | None:
    """How many answers the choices are the best of; None where these are all."""
    best_of = fields.integer("best_of", num_choices)
    if not num_choices <= best_of <= MAX_CHOICES:
        raise InvalidRequestError(
            f"best_of is {best_of}; it must be between n, {num_choices}, and {MAX_CHOICES}.", param="best_of"
        )
    if best_of > num_choices and fields.boolean("stream", False):
        raise InvalidRequestError("best_of above n needs whole answers; leave out stream.", param="best_of")
    return best_of if best_of > num_choices else None


def read_max_generation_s(fields: Fields) -> float | None:
    """llama.cpp's field; there, too, 0 and less mean no limit."""
    milliseconds = fields.integer("t_max_predict_ms", 0)
    return milliseconds / 1000 if milliseconds > 0 else None
