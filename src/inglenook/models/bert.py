"""BERT (Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

from inglenook.layers.encoder_layer import LayerNames
from inglenook.models.config_reader import ConfigReader
from inglenook.models.encoder_config import EncoderConfig, HeadNames, read_encoder

LAYERS = "encoder.layer"
LAYER_NAMES = LayerNames(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    out_norm="output.LayerNorm",
)


def read_config(reader: ConfigReader, has_classifier: bool) -> EncoderConfig:
    return read_encoder(
        reader,
        "bert",
        has_classifier,
        keys={},
        layers=LAYERS,
        layer_names=LAYER_NAMES,
        head_names=HeadNames("pooler.dense", "tanh", "classifier"),
        num_token_types=reader.integer("type_vocab_size", 2),
    )
