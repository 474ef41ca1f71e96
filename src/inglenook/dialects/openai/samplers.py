"""llama.cpp's `samplers`: those that a request's tokens go through. One that isn't named isn't used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.types import SamplingParams

NEUTRAL: Mapping[str, Mapping[str, Any]] = {  # in the order in which they are applied here
    "penalties": {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "temperature": {"temperature": 1.0},
    "min_p": {"min_p": 0.0},
    "top_k": {"top_k": 0},
    "top_p": {"top_p": 1.0},
    "typ_p": {"typical_p": 1.0},
}
ALL = ("penalties", "top_k", "typ_p", "top_p", "min_p", "temperature")
_INFILL = "infill"
# Samplers that are here at most as parameters that ask for nothing; others are refused.
_OFF = frozenset(("dry", "top_n_sigma", "xtc", "adaptive_p", "tfs_z"))
_OTHER_NAMES = {"typical_p": "typ_p"}
_LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "i": _INFILL,
    "a": "adaptive_p",
    "f": "tfs_z",
}


@dataclass(frozen=True)
class Samplers:
    """`overrides` are the fields of SamplingParams that are off; `unknown` names that are no samplers."""

    names: tuple[str, ...] = ALL
    overrides: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    is_ordered: bool = False  # by the client

    def warnings(self, sampling: SamplingParams) -> tuple[str, ...]:
        warnings = []
        if _INFILL in self.names:
            warnings.append("samplers: infill is not here; the likeliest token is taken in its place.")
        active = [name for name in self.names if does_something(name, sampling)]
        ours = [name for name in NEUTRAL if name in active]
        if self.is_ordered and active != ours and sampling.temperature > 0:
            warnings.append(f"samplers are applied in this order: {', '.join(ours)}.")
        return tuple(warnings)


def read_samplers(fields: Fields) -> Samplers:
    """A list of names, or their letters as a string."""
    if fields.get("samplers") is None:
        return Samplers()
    given: Sequence[str] = fields.strings("samplers")
    if isinstance(fields.get("samplers"), str):
        given = [_LETTERS.get(letter, letter) for letter in given[0]]
    names = tuple(dict.fromkeys(_OTHER_NAMES.get(name, name) for name in given))
    unknown = tuple(f"samplers.{name}" for name in names if name not in {*NEUTRAL, *_OFF, _INFILL})
    kept = tuple(name for name in names if name in NEUTRAL or name == _INFILL)
    overrides: dict[str, Any] = {}
    for name, neutral in NEUTRAL.items():
        if name not in kept:
            overrides |= neutral
    if _INFILL in kept:
        overrides["temperature"] = 0.0
    return Samplers(kept, overrides, unknown, is_ordered=True)


def does_something(name: str, sampling: SamplingParams) -> bool:
    return any(getattr(sampling, field) != value for field, value in NEUTRAL.get(name, {}).items())
