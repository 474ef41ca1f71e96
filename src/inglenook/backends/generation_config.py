"""What a model's makers say of generating with it: generation_config.json, or the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inglenook.errors import CheckpointError, InvalidRequestError
from inglenook.types import MODEL_DEFAULTED, GenerateRequest, SamplingParams

_FILE = "generation_config.json"


@dataclass(frozen=True)
class GenerationConfig:
    """`sampling` holds values for fields of SamplingParams; `eos_token_ids` end an answer, beside the tokenizer's."""

    sampling: Mapping[str, float]
    eos_token_ids: frozenset[int]

    def apply(self, request: GenerateRequest) -> SamplingParams:
        """The request's sampling, with the model's values where the client gave none."""
        mine = {name: value for name, value in self.sampling.items() if name in request.model_defaulted}
        return replace(request.sampling, **mine) if mine else request.sampling  # type: ignore[arg-type]

    def describe(self) -> str:
        """For people: 'temperature 0.2, top_p 0.9'; empty where there are no defaults."""
        return ", ".join(f"{name} {value:g}" for name, value in self.sampling.items())


def read_generation_config(values: Mapping[str, Any], recommended: Mapping[str, float]) -> GenerationConfig:
    """`values` is the file's content, whose defaults win over the `recommended` ones.

    Raises CheckpointError, naming the key, for a value of the wrong type or out of range.
    """
    sampling = {**recommended, **{name: values[name] for name in MODEL_DEFAULTED if values.get(name) is not None}}
    for name, value in sampling.items():
        kinds = int if name == "top_k" else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise CheckpointError(f"{_FILE}: {name} is {value!r}; it must be a number.")
    try:
        SamplingParams(**sampling).validate()
    except InvalidRequestError as error:
        raise CheckpointError(f"{_FILE}: {error.message}") from error
    return GenerationConfig(dict(sorted(sampling.items())), _eos_token_ids(values.get("eos_token_id")))


def _eos_token_ids(value: Any) -> frozenset[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token_id, int) and not isinstance(token_id, bool) and token_id >= 0 for token_id in ids):
        raise CheckpointError(f"{_FILE}: eos_token_id is {value!r}; it must be a token id or a list of them.")
    return frozenset(ids)
