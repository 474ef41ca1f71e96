"""Fields under the names that llama.cpp, SGLang and Transformers have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from inglenook.dialects.json_fields import Fields
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import SamplingParams

_OTHER_NAMES: Mapping[str, str] = {  # other -> ours
    "repeat_penalty": "repetition_penalty",
    "no_stop_trim": "include_stop_str_in_output",
    "max_new_tokens": "max_tokens",
    "return_tokens": "return_token_ids",
}
_ID = re.compile("[!-~]{1,128}")


def take_other_names(fields: Fields) -> None:
    """Before anything else is read. Raises InvalidRequestError where two names of one field have different values."""
    for other, name in _OTHER_NAMES.items():
        fields.also(name, other)


def read_max_tokens(fields: Fields, default: int | None) -> int | None:
    """OpenAI's `max_tokens` is at least 1. llama.cpp's -1 means as many as there is room for: under its own name,
    `n_predict`, and in bodies of its clients, which `samplers` shows.
    """
    given, in_llama_cpp = fields.get("max_tokens"), fields.get("n_predict")
    if -1 in (given, in_llama_cpp) and (given is None or fields.get("samplers")):
        return None
    fields.also("max_tokens", "n_predict")
    return fields.integer("max_tokens", default)


def check_penalty_window(fields: Fields, sampling: SamplingParams) -> None:
    """llama.cpp's penalties look back so many tokens; ours, as vLLM's, at all. Raises UnsupportedParameterError."""
    window = fields.integer("repeat_last_n", -1)
    penalties = (sampling.repetition_penalty - 1, sampling.presence_penalty, sampling.frequency_penalty)
    if window != -1 and any(penalties):
        raise UnsupportedParameterError(
            "repeat_last_n isn't supported together with penalties: they look at all tokens. Leave it out, or send -1.",
            param="repeat_last_n",
        )


def read_answer_id(fields: Fields, default: str) -> str:
    """The id that the client wants its answer to have: SGLang's as it is, vLLM's behind the route's prefix.

    Raises InvalidRequestError.
    """
    for name in ("rid", "request_id"):
        given = fields.string(name, None)
        if given is None:
            continue
        if not _ID.fullmatch(given):
            raise InvalidRequestError(
                f"{name} must have 1 to 128 printable ASCII characters, and no spaces.", param=name
            )
        prefix = default.partition("-")[0]
        return given if name == "rid" else f"{prefix}-{given.removeprefix(prefix + '-')}"
    return default
