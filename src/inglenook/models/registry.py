"""Which architectures there are: from a checkpoint's config to a ModelConfig, from that to a Program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from inglenook.models import gguf_config, huggingface_config, llama, mistral
from inglenook.models.causal_lm import build_causal_lm
from inglenook.models.config_reader import ConfigReader
from inglenook.models.model_config import ModelConfig
from inglenook.ops.program import Program
from inglenook.ops.weights import HostTensor

__all__ = ["ARCHITECTURES", "Architecture", "ModelConfig", "build_program", "read_config"]


@dataclass(frozen=True)
class Architecture:
    name: str
    class_name: str  # as config.json's `architectures` has it
    read: Callable[[ConfigReader], ModelConfig]
    build: Callable[[ModelConfig], Program] = build_causal_lm


ARCHITECTURES = (
    Architecture("llama", "LlamaForCausalLM", llama.read_config),
    Architecture("mistral", "MistralForCausalLM", mistral.read_config),
)
GGUF_READERS = {"llama": gguf_config.read_llama}


def read_config(
    config: Mapping[str, Any],
    *,
    format: Literal["gguf", "safetensors", "dummy"],
    tensors: Mapping[str, HostTensor] | None = None,
) -> ModelConfig:
    """A checkpoint's `config` (GGUF metadata, or config.json) with its `tensors` under canonical names.

    Raises UnsupportedModelError, which names the key, where a key is missing, unknown or has an unsupported value.
    """
    if format == "gguf":
        name = ConfigReader(config, gguf_config.SOURCE).choice("general.architecture", GGUF_READERS.keys())
        return GGUF_READERS[name](config, tensors)
    reader = ConfigReader(config, huggingface_config.SOURCE)
    return _architecture(reader).read(reader)


def build_program(config: ModelConfig) -> Program:
    """The program of a model, with weights under Hugging Face's names."""
    return next(a for a in ARCHITECTURES if a.name == config.architecture).build(config)


def _architecture(reader: ConfigReader) -> Architecture:
    """By `architectures`, or by `model_type` where that is missing."""
    class_names = reader.values.get("architectures")
    if class_names:
        by_class = {a.class_name: a for a in ARCHITECTURES}
        if not (isinstance(class_names, list | tuple) and len(class_names) == 1 and class_names[0] in by_class):
            raise reader.unsupported("architectures", f"one of {', '.join(by_class)}")
        return by_class[class_names[0]]
    by_name = {a.name: a for a in ARCHITECTURES}
    return by_name[reader.choice("model_type", by_name.keys())]
