"""A decoder that predicts the next token: embedding, equal layers, final norm, head."""

from __future__ import annotations

from inglenook.layers.attention import AttentionConfig
from inglenook.layers.decoder_layer import DecoderLayerConfig, decoder_layer
from inglenook.layers.embedding import embedding, lm_head
from inglenook.layers.mlp import MlpConfig
from inglenook.layers.norms import rms_norm
from inglenook.models.model_config import ModelConfig
from inglenook.ops.program import Buffer, Program

EMBEDDING = "model.embed_tokens"
FINAL_NORM = "model.norm"


def build_causal_lm(config: ModelConfig) -> Program:
    """Record the program. Its output is the logits [num_selected, vocab_size] of the selected rows."""
    program = Program()
    x = decoder_layers(program, config)
    x = program.select_rows(x)  # before the norm: it is by row, and most rows of a prompt need no logits
    x = rms_norm(program, x, FINAL_NORM, config.rms_norm_eps)
    lm_head(program, x, EMBEDDING if config.tie_word_embeddings else "lm_head", config.vocab_size)
    return program


def decoder_layers(program: Program, config: ModelConfig) -> Buffer:
    """From token ids to what the last layer gives, before the final norm."""
    layer = DecoderLayerConfig(
        attention=AttentionConfig(
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            rope=config.rope,
            has_bias=config.attention_bias,
            sliding_window=config.sliding_window,
        ),
        mlp=MlpConfig(config.intermediate_size, "silu", config.mlp_bias),
        norm_eps=config.rms_norm_eps,
    )
    x = embedding(program, EMBEDDING, config.vocab_size, config.hidden_size)
    for index in range(config.num_layers):
        x = decoder_layer(program, x, f"model.layers.{index}", layer)
    return x
