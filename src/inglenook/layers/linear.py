"""Linear projections under Hugging Face's names: `<module>.weight` and, where there is one, `<module>.bias`."""

from __future__ import annotations

from collections.abc import Mapping

from inglenook.ops.program import Buffer, Program


def linear(program: Program, x: Buffer, modules: Mapping[str, int], *, has_bias: bool = False) -> Buffer:
    """One fused projection by several modules, given as name -> out_features; their columns stand side by side."""
    weights = [program.weight(f"{name}.weight", width, x.width) for name, width in modules.items()]
    biases = [program.weight(f"{name}.bias", width) if has_bias else None for name, width in modules.items()]
    return program.linear(x, *weights, biases=tuple(biases))
