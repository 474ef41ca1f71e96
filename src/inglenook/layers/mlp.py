"""Gated feed-forward block (Shazeer 2020, arXiv:2002.05202)."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.layers.linear import linear
from inglenook.ops.program import Activation, Buffer, Program


@dataclass(frozen=True)
class MlpConfig:
    intermediate_size: int
    activation: Activation
    has_bias: bool = False  # on all three projections


def gated_mlp(program: Program, x: Buffer, name: str, config: MlpConfig) -> Buffer:
    """down(act(gate(x)) * up(x))"""
    width = config.intermediate_size
    fused = linear(program, x, {f"{name}.gate_proj": width, f"{name}.up_proj": width}, has_bias=config.has_bias)
    gate, up = program.split(fused, width, width)
    hidden = program.act_mul(gate, up, config.activation)
    return linear(program, hidden, {f"{name}.down_proj": x.width}, has_bias=config.has_bias)
