"""Which encoders there are: their classes in config.json, what these are for, which tensors they may leave unused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from inglenook.models import bert, distilbert, huggingface_config, roberta
from inglenook.models.config_reader import ConfigReader
from inglenook.models.encoder_config import EncoderConfig, read_num_labels

PoolingTask = Literal["embed", "score", "classify"]


@dataclass(frozen=True)
class Encoder:
    """`prefix` may stand before the names of its tensors; `unused` are those that a model without them computes too."""

    model_type: str
    class_prefix: str
    prefix: str
    read: Callable[[ConfigReader, bool], EncoderConfig]
    unused: re.Pattern[str]


ENCODERS = (
    Encoder("bert", "Bert", "bert.", bert.read_config, re.compile(r"(pooler|cls)\..*")),
    Encoder("roberta", "Roberta", "roberta.", roberta.read_config, re.compile(r"(pooler|lm_head)\..*")),
    Encoder("xlm-roberta", "XLMRoberta", "roberta.", roberta.read_config, re.compile(r"(pooler|lm_head)\..*")),
    Encoder("distilbert", "DistilBert", "distilbert.", distilbert.read_config, re.compile(r"vocab_\w+\..*")),
)
_CLASSIFIER = "ForSequenceClassification"
_CLASS_SUFFIXES = ("Model", "ForMaskedLM", _CLASSIFIER)


def find_encoder(config: Mapping[str, Any]) -> tuple[Encoder, PoolingTask] | None:
    """The encoder that a config.json describes, and what it was made for; None where it describes none of ours.

    A classifier with one label ranks. Raises UnsupportedModelError, which names the key.
    """
    class_names = config.get("architectures") or ()
    for encoder in ENCODERS:
        for suffix in _CLASS_SUFFIXES:
            if list(class_names) == [encoder.class_prefix + suffix]:
                return encoder, _classifier_task(config) if suffix == _CLASSIFIER else "embed"
    if not class_names:
        return next(((e, "embed") for e in ENCODERS if e.model_type == config.get("model_type")), None)
    return None


def read_encoder_config(config: Mapping[str, Any], encoder: Encoder, task: PoolingTask) -> EncoderConfig:
    """Raises UnsupportedModelError, which names the key."""
    return encoder.read(ConfigReader(config, huggingface_config.SOURCE), task != "embed")


def _classifier_task(config: Mapping[str, Any]) -> PoolingTask:
    return "score" if read_num_labels(ConfigReader(config, huggingface_config.SOURCE)) == 1 else "classify"
