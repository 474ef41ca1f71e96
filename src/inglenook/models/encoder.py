"""An encoder that sees whole sequences: embeddings, equal layers. pooling.py makes a row of its hidden states."""

from __future__ import annotations

from inglenook.layers.encoder_layer import EncoderLayerConfig, encoder_layer
from inglenook.layers.norms import layer_norm
from inglenook.models.encoder_config import EncoderConfig
from inglenook.ops.program import Buffer, Program


def encoder_layers(program: Program, config: EncoderConfig) -> Buffer:
    """From token ids, token types and positions to the last layer's hidden states."""
    x = _embeddings(program, config)
    layer = EncoderLayerConfig(config.num_heads, config.intermediate_size, config.activation, config.layer_norm_eps)
    for index in range(config.num_layers):
        x = encoder_layer(program, x, f"{config.layers}.{index}", config.layer_names, layer)
    return x


def _embeddings(program: Program, config: EncoderConfig) -> Buffer:
    width = config.hidden_size
    x = program.embed(program.weight("embeddings.word_embeddings.weight", config.vocab_size, width))
    if config.num_token_types:
        types = program.weight("embeddings.token_type_embeddings.weight", config.num_token_types, width)
        x = program.add(x, program.embed(types, "token_type_ids"))
    num_positions = config.first_position + config.max_position
    positions = program.weight("embeddings.position_embeddings.weight", num_positions, width)
    x = program.add(x, program.embed(positions, "positions", config.first_position))
    return layer_norm(program, x, "embeddings.LayerNorm", config.layer_norm_eps)
