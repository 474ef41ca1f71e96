"""Requests that end in vectors, scores or classes instead of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from inglenook.types.answers import Usage

if TYPE_CHECKING:  # commands that compute nothing needn't wait for it
    import numpy as np
    import numpy.typing as npt

TruncationSide = Literal["left", "right"]
InputType = Literal["query", "document", "classification", "clustering"]
ClassFunction = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True)
class PoolingRequest:
    """What the requests below share.

    `truncate_prompt_tokens` cuts each input to so many tokens, special ones included, by dropping from
    `truncation_side`; -1: to the model's longest; None: an input that is too long is an error.
    """

    request_id: str
    model: str
    priority: int = 0  # lower is served first
    truncate_prompt_tokens: int | None = None
    truncation_side: TruncationSide = "right"


@dataclass(frozen=True)
class EmbedRequest(PoolingRequest):
    """A vector for each input, which is text or token ids.

    `prompt_name` picks one of the prefixes that the model's makers gave it by name, `input_type` the one for what the
    inputs are, where there is one; None: the default one, where there is one. `dimensions` cuts the vectors, for models
    that were trained to be cut.
    """

    inputs: tuple[str | tuple[int, ...], ...] = ()
    dimensions: int | None = None
    prompt_name: str | None = None
    input_type: InputType | None = None
    is_normalized: bool | None = None  # None: as the model's makers have it
    add_special_tokens: bool = True


@dataclass(frozen=True)
class ScoreRequest(PoolingRequest):
    """How well the second text of each pair answers the first.

    A cross-encoder reads the two together, an embedding model compares their vectors. `is_raw`: a cross-encoder's
    scores as they are, not mapped to 0 to 1.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    is_raw: bool = False


class TextPair(NamedTuple):
    """Two texts that a model reads together."""

    first: str
    second: str


@dataclass(frozen=True)
class ClassifyRequest(PoolingRequest):
    """Which classes each input is of. `function` makes numbers of a classifier's logits; None: as the model has it."""

    inputs: tuple[str | tuple[int, ...] | TextPair, ...] = ()
    function: ClassFunction | None = None
    add_special_tokens: bool = True


@dataclass(frozen=True, eq=False)
class Embeddings:
    """`vectors` are float32, one row of [inputs, dimensions] for each input, in order."""

    vectors: npt.NDArray[np.float32]
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scores:
    """One for each pair, in order; higher is better."""

    scores: Sequence[float]
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Classes:
    """For each input, in order, a number for each of the labels."""

    labels: tuple[str, ...]
    scores: Sequence[Sequence[float]]
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()
