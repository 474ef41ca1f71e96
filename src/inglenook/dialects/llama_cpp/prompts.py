"""`prompt` as the llama.cpp server takes it, and the texts around a middle."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.json_fields import Fields, as_token_id, expected
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Prompt, SourceFile

MAX_PROMPTS = 1024
MAX_FILES = 1024

_KINDS = "a string, a list of strings and token ids, or a list of these"


def read_prompts(fields: Fields) -> tuple[Prompt, ...]:
    """One prompt or several: a list with a token id in it is one, a list of strings and lists is several."""
    given = fields.get("prompt")
    if given is None:
        raise InvalidRequestError(f"prompt is missing; it must be {_KINDS}.", param="prompt")
    if not isinstance(given, list):
        return (_text("prompt", given),)
    if not given:
        raise InvalidRequestError("prompt is an empty list.", param="prompt")
    if any(isinstance(item, (int, float)) for item in given):
        return (_parts("prompt", given),)
    if len(given) > MAX_PROMPTS:
        raise InvalidRequestError(
            f"prompt is a list of {len(given)} prompts; at most {MAX_PROMPTS} are allowed.", param="prompt"
        )
    return tuple(_prompt(f"prompt[{index}]", item) for index, item in enumerate(given))


def _prompt(where: str, value: Any) -> Prompt:
    if not isinstance(value, list):
        return _text(where, value)
    if not value:
        raise InvalidRequestError(f"{where} is an empty list.", param="prompt")
    return _parts(where, value)


def _parts(where: str, values: list[Any]) -> tuple[int | str, ...]:
    return tuple(
        item if isinstance(item, str) else as_token_id(f"{where}[{index}]", item) for index, item in enumerate(values)
    )


def _text(where: str, value: Any) -> str:
    """A string, or the object that says what else belongs to it."""
    if isinstance(value, dict):
        given = Fields(value, f"{where}.")
        if given.get("multimodal_data"):
            name = given.name("multimodal_data")
            raise UnsupportedParameterError(f"{name} isn't supported: models here read text only.", param=name)
        return given.string("prompt_string", "")
    if not isinstance(value, str):
        raise expected(where, _KINDS, value)
    return value


def read_middle(fields: Fields) -> tuple[Prompt, str, tuple[SourceFile, ...], tuple[str, ...]]:
    """What stands in front of a middle, and behind it; other files; and names within these that nobody knows.

    `prompt` goes on where `input_prefix` ends. It is tokenised apart, so that typing on a line leaves what is in front
    of it cached.
    """
    before, prompt = _required(fields, "input_prefix"), fields.string("prompt", "")
    files, unknown = _files(fields)
    return (before, prompt) if prompt else before, _required(fields, "input_suffix"), files, unknown


def _required(fields: Fields, key: str) -> str:
    text = fields.string(key, None)
    if text is None:
        raise InvalidRequestError(f"{key} is missing; it may be empty.", param=key)
    return text


def _files(fields: Fields) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    values = fields.get("input_extra")
    if values is None:
        return (), ()
    if not isinstance(values, list):
        raise expected("input_extra", "a list of objects with filename and text", values)
    if len(values) > MAX_FILES:
        raise InvalidRequestError(
            f"input_extra has {len(values)} files; at most {MAX_FILES} are allowed.", param="input_extra"
        )
    files, unknown = [], []
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise expected(f"input_extra[{index}]", "an object with filename and text", value)
        given = Fields(value, f"input_extra[{index}].")
        given.skip("time")  # llama.vim's, for itself
        files.append(SourceFile(given.string("filename", "tmp"), given.string("text", "")))
        unknown += [given.name(name) for name in given.unread()]
    return tuple(files), tuple(unknown)
