"""What a request says of prompts that are too long, in vLLM's words."""

from __future__ import annotations

from typing import TypedDict, cast

from inglenook.dialects.json_fields import Fields
from inglenook.errors import InvalidRequestError
from inglenook.types import TruncationSide


class Truncation(TypedDict):
    """Fields of GenerateRequest."""

    truncate_prompt_tokens: int | None
    truncation_side: TruncationSide


def parse_truncation(fields: Fields, default_side: TruncationSide = "left") -> Truncation:
    """Raises InvalidRequestError, naming the field."""
    length = fields.integer("truncate_prompt_tokens", None)
    if length is not None and length != -1 and length < 1:
        raise InvalidRequestError(
            f"truncate_prompt_tokens is {length}; it must be at least 1, or -1: to what the context allows.",
            param="truncate_prompt_tokens",
        )
    side = cast(TruncationSide, fields.choice("truncation_side", default_side, ("left", "right")))
    return {"truncate_prompt_tokens": length, "truncation_side": side}
