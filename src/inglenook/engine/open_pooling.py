"""From files to a checkpoint and its program, for models that give vectors and scores; and which models these are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inglenook.checkpoint.checkpoint import Checkpoint, open_checkpoint, read_config_json
from inglenook.checkpoint.sentence_transformers import is_sentence_model, read_max_seq_length, read_modules
from inglenook.config import ModelSettings
from inglenook.engine.open_model import check_tensors, open_dummy_model
from inglenook.errors import UnsupportedModelError
from inglenook.models.encoder_config import EncoderConfig
from inglenook.models.encoders import Encoder, PoolingTask, find_encoder, read_encoder_config
from inglenook.models.model_config import ModelConfig
from inglenook.models.pooling import PoolingConfig, build_classifier, build_embedder
from inglenook.models.registry import read_config
from inglenook.models.sentence_modules import read_pooling
from inglenook.ops.program import Program
from inglenook.ops.weights import HostTensor
from inglenook.types import Task

_DOES: Mapping[PoolingTask, str] = {
    "embed": "gives vectors for texts",
    "score": "ranks texts",
    "classify": "sorts texts into classes",
}
_LM_HEAD = re.compile(r"lm_head\..*")
_OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of norms, in checkpoints made from TensorFlow's


@dataclass(frozen=True)
class PoolingModel:
    """An opened model. `pooling` is None where it gives a classifier's logits; `max_length` is the longest input that
    its makers want, at most config.max_position.
    """

    checkpoint: Checkpoint
    config: ModelConfig | EncoderConfig
    program: Program
    task: PoolingTask
    pooling: PoolingConfig | None
    max_length: int


def task_of(path: Path | None, model: ModelSettings) -> Task:
    """What the model at `path` (None: random weights) is for: model.task, or what its configuration shows.

    Raises CheckpointError (UnsupportedModelError where it can't do what model.task says).
    """
    is_folder = path is not None and path.is_dir() and (path / "config.json").is_file()
    found = find_encoder(read_config_json(path)) if is_folder and path is not None else None
    if found is None:
        return _decoder_task(path, model, is_folder)
    own = found[1]
    if model.task not in ("auto", own):
        raise UnsupportedModelError(
            f"The task is {model.task}, but the model {_DOES[own]}: its task is {own}. Leave the task out.",
            param="task",
        )
    return own


def _decoder_task(path: Path | None, model: ModelSettings, is_folder: bool) -> Task:
    if model.task in ("score", "classify"):
        raise UnsupportedModelError(
            f"The task is {model.task}, but the model has no classifier. Leave the task out.", param="task"
        )
    if model.task != "auto":
        return model.task
    if path is None or not is_folder:
        return "generate"
    class_names = read_config_json(path).get("architectures")
    is_headless = isinstance(class_names, list) and len(class_names) == 1 and str(class_names[0]).endswith("Model")
    return "embed" if is_headless or is_sentence_model(path) else "generate"


def open_pooling_model(path: Path | None, model: ModelSettings) -> PoolingModel:
    """What is at `path`; None: random weights, model.model is "dummy:SHAPE". The checkpoint is the caller's to close.

    Raises CheckpointError, UnsupportedModelError or ConfigError.
    """
    task = task_of(path, model)
    assert task != "generate"
    if path is None or model.load_format == "dummy":
        pooling = PoolingConfig("last")
        checkpoint, decoder, program = open_dummy_model(path, model, lambda config: build_embedder(config, pooling))
        return PoolingModel(checkpoint, decoder, program, task, pooling, decoder.max_position)
    checkpoint = open_checkpoint(path, load_format=model.load_format)
    try:
        found = None if checkpoint.format == "gguf" else find_encoder(checkpoint.config)
        opened = _open_decoder(path, checkpoint) if found is None else _open_encoder(path, checkpoint, found[0], task)
        unused = _LM_HEAD if found is None else found[0].unused
        check_tensors(opened.checkpoint, opened.program, unused)
    except BaseException:
        checkpoint.close()
        raise
    return opened


def _open_encoder(path: Path, checkpoint: Checkpoint, encoder: Encoder, task: PoolingTask) -> PoolingModel:
    config = read_encoder_config(checkpoint.config, encoder, task)
    tensors = {_encoder_name(name, encoder.prefix): tensor for name, tensor in checkpoint.tensors.items()}
    if task != "embed":
        return PoolingModel(
            _with(checkpoint, tensors), config, build_classifier(config), task, None, config.max_position
        )
    pooling, dense = _read_pooling(path, PoolingConfig("mean"))
    program = build_embedder(config, pooling)
    max_length = _max_length(path, config.max_position)
    return PoolingModel(_with(checkpoint, {**tensors, **dense}), config, program, task, pooling, max_length)


def _open_decoder(path: Path, checkpoint: Checkpoint) -> PoolingModel:
    tensors = dict(checkpoint.tensors)
    if "embed_tokens.weight" in tensors:  # saved without a head
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    values = checkpoint.config if checkpoint.format == "gguf" else _with_head(checkpoint.config)
    config = read_config(values, format=checkpoint.format, tensors=tensors)
    pooling, dense = _read_pooling(path, PoolingConfig("last"))
    program = build_embedder(config, pooling)
    max_length = _max_length(path, config.max_position)
    return PoolingModel(_with(checkpoint, {**tensors, **dense}), config, program, "embed", pooling, max_length)


def _with_head(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Decoders are known under their name with a head."""
    class_names = config.get("architectures") or []
    return {**config, "architectures": [re.sub("Model$", "ForCausalLM", str(name)) for name in class_names]}


def _with(checkpoint: Checkpoint, tensors: dict[str, HostTensor]) -> Checkpoint:
    def release() -> None:
        tensors.clear()
        checkpoint.close()

    return replace(checkpoint, tensors=tensors, release=release)


def _encoder_name(name: str, prefix: str) -> str:
    stem, _, last = name.removeprefix(prefix).rpartition(".")
    return f"{stem}.{_OLD_NAMES.get(last, last)}" if stem else last


def _read_pooling(path: Path, default: PoolingConfig) -> tuple[PoolingConfig, dict[str, HostTensor]]:
    """With the tensors of its dense layers. `default` is for models that say nothing: mean, as sentence-transformers
    has it, and the last token of decoders, which alone has seen all others.
    """
    modules = read_modules(path)
    if modules is None:
        return default, {}
    tensors = {name: tensor for module in modules for name, tensor in module.tensors.items()}
    return read_pooling(modules), tensors


def _max_length(path: Path, max_position: int) -> int:
    wanted = read_max_seq_length(path)
    is_sound = isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > 0
    return min(wanted, max_position) if is_sound else max_position
