"""One layer of a pre-norm decoder: attention, then feed-forward, each added to the residual stream."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.layers.attention import AttentionConfig, attention
from inglenook.layers.mlp import MlpConfig, gated_mlp
from inglenook.layers.norms import rms_norm
from inglenook.ops.program import Buffer, Program


@dataclass(frozen=True)
class DecoderLayerConfig:
    attention: AttentionConfig
    mlp: MlpConfig
    norm_eps: float


def decoder_layer(program: Program, x: Buffer, name: str, config: DecoderLayerConfig) -> Buffer:
    hidden = rms_norm(program, x, f"{name}.input_layernorm", config.norm_eps)
    x = program.add(x, attention(program, hidden, f"{name}.self_attn", config.attention))
    hidden = rms_norm(program, x, f"{name}.post_attention_layernorm", config.norm_eps)
    return program.add(x, gated_mlp(program, hidden, f"{name}.mlp", config.mlp))
