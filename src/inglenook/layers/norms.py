"""Normalisation layers."""

from __future__ import annotations

from inglenook.ops.program import Buffer, Program


def rms_norm(program: Program, x: Buffer, name: str, eps: float) -> Buffer:
    return program.rms_norm(x, program.weight(f"{name}.weight", x.width), eps)


def layer_norm(program: Program, x: Buffer, name: str, eps: float) -> Buffer:
    return program.layer_norm(
        x, program.weight(f"{name}.weight", x.width), program.weight(f"{name}.bias", x.width), eps
    )
