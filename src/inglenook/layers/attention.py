"""Self-attention with grouped heads and rotary positions."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.layers.linear import linear
from inglenook.ops.program import AttentionSpec, Buffer, Program, RopeSpec


@dataclass(frozen=True)
class AttentionConfig:
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: RopeSpec
    has_bias: bool = False  # on all four projections
    sliding_window: int | None = None


def attention(program: Program, x: Buffer, name: str, config: AttentionConfig) -> Buffer:
    """Records the next layer of attention; its index in the cache is its place among those recorded."""
    q_width = config.num_heads * config.head_dim
    kv_width = config.num_kv_heads * config.head_dim
    modules = {f"{name}.q_proj": q_width, f"{name}.k_proj": kv_width, f"{name}.v_proj": kv_width}
    qkv = linear(program, x, modules, has_bias=config.has_bias)
    qk, v = program.split(qkv, q_width + kv_width, kv_width)
    program.rope(qk, config.head_dim, config.rope)  # queries and keys are neighbours: one operation rotates both
    q, k = program.split(qk, q_width, kv_width)
    spec = AttentionSpec(
        layer=len(program.kv_layers),
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        scale=config.head_dim**-0.5,
        sliding_window=config.sliding_window,
    )
    heads = program.attention(q, k, v, spec)
    return linear(program, heads, {f"{name}.o_proj": x.width}, has_bias=config.has_bias)
