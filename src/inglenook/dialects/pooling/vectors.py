"""Vectors as answers hold them: JSON's numbers, base64, or numbers of fewer bits."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal, cast

from msgspec import Raw

from inglenook.dialects.openai.answers import encode_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EncodingFormat = Literal["float", "base64"]
ENCODING_FORMATS: tuple[EncodingFormat, ...] = ("float", "base64")


def encoded_vector(row: npt.NDArray[np.float32], encoding_format: EncodingFormat) -> list[float] | str:
    """Both forms hold the same 32 bits: a float32 as a double, written shortest, reads back as it was."""
    return as_base64(row) if encoding_format == "base64" else as_numbers(row)


def as_base64(row: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype("<f4", copy=False).tobytes()).decode()


def as_numbers(row: npt.NDArray[np.generic]) -> list[float]:
    """A list as its JSON: where each row is encoded by itself, other threads run between two of many rows."""
    return cast("list[float]", Raw(encode_json(row.tolist())))


def lists_of_numbers(rows: npt.NDArray[np.generic]) -> list[list[float]]:
    return [as_numbers(row) for row in rows]
