"""How a model's makers want its vectors, scores and classes made, beyond what the engine computes: prefixes, widths,
labels, the last function; read from config.json and the files that sentence-transformers writes beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inglenook.checkpoint.checkpoint import find_file
from inglenook.checkpoint.files import read_json_object
from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.types import ClassFunction

Activation = Literal["sigmoid", "identity"]
_ACTIVATIONS: Mapping[str, Activation] = {"Sigmoid": "sigmoid", "Identity": "identity"}
_FUNCTIONS: Mapping[str, ClassFunction] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "none",
}


@dataclass(frozen=True)
class PoolingTraits:
    """`prompts` are texts to put before an input, by name. `widths`: what vectors may be cut to: None to nothing, empty
    to anything. `activation` makes a score of a logit, `function` what is said of classes, called `labels`."""

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    is_normalized: bool = True
    is_lowercased: bool = False
    widths: frozenset[int] | None = None
    activation: Activation = "sigmoid"
    labels: tuple[str, ...] = ()
    function: ClassFunction = "softmax"


def read_traits(
    path: Path | None, config: Mapping[str, Any], *, is_normalized: bool = True, num_labels: int = 0
) -> PoolingTraits:
    """Of the folder at `path` with config.json in `config`; `num_labels` is a classifier's. Raises CheckpointError,
    UnsupportedModelError."""
    prompts, default = _read_prompts(_read(path, "config_sentence_transformers.json"))
    return PoolingTraits(
        prompts,
        default,
        is_normalized,
        is_lowercased=_read(path, "sentence_bert_config.json").get("do_lower_case") is True,
        widths=_read_widths(config),
        activation=_read_activation(config) if num_labels < 2 else "sigmoid",
        labels=_read_labels(config, num_labels),
        function=_read_function(config, num_labels),
    )


def _read(path: Path | None, name: str) -> dict[str, Any]:
    """An empty object where there is no such file: only some models have it."""
    file = find_file(path, name)
    return read_json_object(file) if file else {}


def _read_prompts(config: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise CheckpointError("config_sentence_transformers.json has prompts that aren't texts by name.")
    if default is not None and default not in prompts:
        raise CheckpointError(
            f"config_sentence_transformers.json names a default prompt, {str(default)[:40]!r}, that it doesn't have."
        )
    return prompts, default


def _read_widths(config: Mapping[str, Any]) -> frozenset[int] | None:
    """vLLM's two names in config.json: there is no common one for models that were trained to be cut."""
    widths = config.get("matryoshka_dimensions")
    if isinstance(widths, list) and widths and all(isinstance(width, int) and width > 0 for width in widths):
        return frozenset(widths)
    return frozenset() if config.get("is_matryoshka") is True else None


def _read_activation(config: Mapping[str, Any]) -> Activation:
    """What makes a score of a logit: sigmoid where nothing is said, as sentence-transformers has it for one label."""
    section = config.get("sentence_transformers")
    name = section.get("activation_fn") if isinstance(section, Mapping) else None
    name = name or config.get("sbert_ce_default_activation_function")
    if name is None:
        return "sigmoid"
    activation = _ACTIVATIONS.get(str(name).rpartition(".")[2])
    if activation is None:
        raise UnsupportedModelError(f"The model makes scores with {str(name)[:80]}; Sigmoid and Identity are known.")
    return activation


def _read_labels(config: Mapping[str, Any], num_labels: int) -> tuple[str, ...]:
    """Where a class has no name it is called as transformers calls it."""
    names = config.get("id2label") or {}
    labels = tuple(names.get(str(index), f"LABEL_{index}") for index in range(num_labels))
    if not all(isinstance(label, str) for label in labels):
        raise CheckpointError("config.json has labels in id2label that aren't texts.")
    return labels


def _read_function(config: Mapping[str, Any], num_labels: int) -> ClassFunction:
    """As transformers' pipeline chooses it."""
    problem = config.get("problem_type")
    if problem is not None and problem not in _FUNCTIONS:
        raise UnsupportedModelError(
            f"config.json: problem_type is {str(problem)[:60]!r}; it must be one of {', '.join(_FUNCTIONS)}."
        )
    if num_labels == 1:
        return "none" if problem == "regression" else "sigmoid"
    return "softmax" if problem is None else _FUNCTIONS[problem]
