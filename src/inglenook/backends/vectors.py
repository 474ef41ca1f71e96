"""From the rows that the engine gives to vectors, scores and classes. Each is computed on its own: none depends on
another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inglenook.types import ClassFunction

Row = npt.NDArray[np.float32]

_SMALLEST = 1e-12  # of a length that is divided by, as in torch


def finish_vectors(rows: Sequence[Row], *, width: int | None, is_normalized: bool) -> npt.NDArray[np.float32]:
    """[inputs, dimensions]: rows cut to `width`, then scaled to length 1."""
    cut = [row[:width] for row in rows]
    return np.stack([_unit(row).astype(np.float32) for row in cut] if is_normalized else cut)


def cosine(first: Row, second: Row) -> float:
    return float(np.dot(_unit(first), _unit(second)))


def sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1.0 + power)


def class_scores(logits: Row, function: ClassFunction) -> list[float]:
    """Of one input: a number for each class."""
    if function == "sigmoid":
        return [sigmoid(float(logit)) for logit in logits]
    exact: list[float] = logits.astype(np.float64).tolist()
    if function == "none":
        return exact
    largest = max(exact)
    powers = [math.exp(logit - largest) for logit in exact]
    total = math.fsum(powers)
    return [power / total for power in powers]


def _unit(row: Row) -> npt.NDArray[np.float64]:
    exact = row.astype(np.float64)
    unit: npt.NDArray[np.float64] = exact / max(math.sqrt(float(np.dot(exact, exact))), _SMALLEST)
    return unit
