"""Programs that give one row for each sequence: pooled hidden states, or a classifier's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inglenook.layers.linear import linear
from inglenook.layers.norms import rms_norm
from inglenook.models.causal_lm import FINAL_NORM, decoder_layers
from inglenook.models.encoder import encoder_layers
from inglenook.models.encoder_config import EncoderConfig
from inglenook.models.model_config import ModelConfig
from inglenook.ops.program import Activation, Buffer, Program

PoolingMode = Literal["mean", "mean_sqrt_len", "max", "cls", "last"]


@dataclass(frozen=True)
class DenseConfig:
    """A linear over pooled rows. Its module is called `name`; None: no activation."""

    name: str
    out_features: int
    has_bias: bool
    activation: Activation | None


@dataclass(frozen=True)
class PoolingConfig:
    """How hidden states become a vector. `is_normalized`: whether its makers scale it to length 1 (None: unknown)."""

    mode: PoolingMode
    dense: tuple[DenseConfig, ...] = ()
    is_normalized: bool | None = None


def build_embedder(config: ModelConfig | EncoderConfig, pooling: PoolingConfig) -> Program:
    """The output is [num_selected, width]: a row for each sequence whose last row is selected."""
    program = Program()
    if isinstance(config, EncoderConfig):
        x = _pool(program, encoder_layers(program, config), pooling.mode)
    else:
        x = decoder_layers(program, config)
        if pooling.mode == "last":  # few rows have to pass through the norm then
            x = rms_norm(program, program.select_rows(x), FINAL_NORM, config.rms_norm_eps)
        else:
            x = _pool(program, rms_norm(program, x, FINAL_NORM, config.rms_norm_eps), pooling.mode)
    for dense in pooling.dense:
        x = linear(program, x, {dense.name: dense.out_features}, has_bias=dense.has_bias)
        if dense.activation is not None:
            x = program.act(x, dense.activation)
    program.set_output(x)
    return program


def build_classifier(config: EncoderConfig) -> Program:
    """The output is the logits [num_selected, num_labels] of each sequence whose last row is selected."""
    program = Program()
    names = config.head_names
    x = program.pool(encoder_layers(program, config), "cls")
    x = program.act(linear(program, x, {names.dense: config.hidden_size}, has_bias=True), names.activation)
    program.set_output(linear(program, x, {names.out: config.num_labels}, has_bias=True))
    return program


def _pool(program: Program, x: Buffer, mode: PoolingMode) -> Buffer:
    return program.select_rows(x) if mode == "last" else program.pool(x, mode)
