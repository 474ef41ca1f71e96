"""Where the time of a step goes inside the native tape: its stages, those of all layers together, with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inglenook.ops import _native


@dataclass(frozen=True)
class StageTime:
    """Stages that do the same in different layers. `weights` are those that they multiply with."""

    name: str
    count: int  # in a step
    seconds: float  # of a step, all of them together
    weights: tuple[str, ...]


def stage_times(tape: _native.Tape, weight_names: Sequence[str]) -> dict[int, list[StageTime]]:
    """By the number of tokens of a step, in the order of the first stage of a name; the mean over steps.

    `weight_names` are the names of the tape's slots.
    """
    named = []
    for operations, slots in tape.stages():
        weights = tuple(weight_names[slot] for slot in slots)
        named.append((stage_name(operations, weights), weights))
    result: dict[int, list[StageTime]] = {}
    for num_tokens, (num_steps, seconds) in tape.stage_seconds().items():
        merged: dict[str, StageTime] = {}
        for (name, weights), total in zip(named, seconds, strict=True):
            known = merged.get(name, StageTime(name, 0, 0.0, ()))
            merged[name] = StageTime(name, known.count + 1, known.seconds + total / num_steps, known.weights + weights)
        result[num_tokens] = list(merged.values())
    return result


def stage_name(operations: Sequence[str], weights: Sequence[str]) -> str:
    """The last words of the weights' names, or what is done where there are none."""
    if not weights:
        return " ".join(dict.fromkeys(operations))
    return "|".join(dict.fromkeys(_short(weight) for weight in weights))


def _short(weight: str) -> str:
    return next(word for word in reversed(weight.split(".")) if word != "weight")
