"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): a BERT without token types, under other names."""

from __future__ import annotations

from inglenook.layers.encoder_layer import LayerNames
from inglenook.models.config_reader import ConfigReader
from inglenook.models.encoder_config import EncoderConfig, HeadNames, read_encoder

KEYS = {
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "hidden_act": "activation",
}
LAYER_NAMES = LayerNames(
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    out_norm="output_layer_norm",
)


def read_config(reader: ConfigReader, has_classifier: bool) -> EncoderConfig:
    return read_encoder(
        reader,
        "distilbert",
        has_classifier,
        keys=KEYS,
        layers="transformer.layer",
        layer_names=LAYER_NAMES,
        head_names=HeadNames("pre_classifier", "relu", "classifier"),
    )
