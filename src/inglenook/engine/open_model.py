"""From files to a checkpoint and its program: what model it is, and whether the tensors are those that it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from inglenook.checkpoint.checkpoint import (
    Checkpoint,
    open_checkpoint,
    open_dummy,
    read_config_json,
    unused_tensors,
)
from inglenook.checkpoint.dummy import DummyEncoding, dummy_config, parse_dummy
from inglenook.config import ModelSettings
from inglenook.errors import CheckpointError, ConfigError
from inglenook.models.registry import ModelConfig, build_program, read_config
from inglenook.ops.program import Program
from inglenook.ops.weights import FLOAT_FORMATS

MAX_NAMED_TENSORS = 5  # in an error


def open_model(path: Path | None, model: ModelSettings) -> tuple[Checkpoint, ModelConfig, Program]:
    """What is at `path`; None: random weights, model.model is "dummy:SHAPE". The checkpoint is the caller's to close.

    Raises CheckpointError, UnsupportedModelError or ConfigError.
    """
    if path is None or model.load_format == "dummy":
        return open_dummy_model(path, model, build_program)
    checkpoint = open_checkpoint(path, load_format=model.load_format)
    try:
        config = read_config(checkpoint.config, format=checkpoint.format, tensors=checkpoint.tensors)
        program = build_program(config)
        check_tensors(checkpoint, program)
    except BaseException:
        checkpoint.close()
        raise
    return checkpoint, config, program


def open_dummy_model(
    path: Path | None, model: ModelSettings, build: Callable[[ModelConfig], Program]
) -> tuple[Checkpoint, ModelConfig, Program]:
    """Random weights for the program that `build` records."""
    encoding: DummyEncoding | None = None
    if path is None:
        shape, encoding = parse_dummy(model.model.removeprefix("dummy:"))
        values = dummy_config(shape)
    elif path.is_dir():
        values = read_config_json(path)
    else:
        raise ConfigError(
            f"Random weights need a folder with config.json or dummy:SHAPE; {path.name} is a file.", param="load_format"
        )
    config = read_config(values, format="dummy")
    program = build(config)
    return open_dummy(values, program.weights, encoding or _dummy_encoding(model), model.seed or 0), config, program


def _dummy_encoding(model: ModelSettings) -> DummyEncoding:
    """Random weights are drawn in the format that is asked for; 4 bits where none is."""
    return "q8_0" if model.quantization == "q8" else FLOAT_FORMATS.get(model.dtype, "q4_0")


def check_tensors(checkpoint: Checkpoint, program: Program, may_be_unused: re.Pattern[str] | None = None) -> None:
    """Every weight of the program is there, and every tensor is used. Raises CheckpointError."""
    missing = [name for name in program.weights if name not in checkpoint.tensors]
    if missing:
        raise CheckpointError(
            f"The checkpoint lacks {len(missing)} weights that the model needs: {_some(missing)}. "
            "Its files are incomplete, or it is another kind of model than its configuration says."
        )
    unused = unused_tensors(checkpoint, program.weights.keys())
    if may_be_unused is not None:
        unused = [name for name in unused if not may_be_unused.fullmatch(name)]
    if unused:
        raise CheckpointError(
            f"The checkpoint holds {len(unused)} tensors that the model as its configuration describes it doesn't use: "
            f"{_some(unused)}. It would give wrong answers without them, so it isn't loaded."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED_TENSORS]) + (", ..." if len(names) > MAX_NAMED_TENSORS else "")
