"""RoBERTa (Liu et al. 2019, arXiv:1907.11692) and XLM-RoBERTa (Conneau et al. 2019, arXiv:1911.02116).

A BERT whose position embeddings begin behind the padding token's row, with a classifier of its own.
"""

from __future__ import annotations

from inglenook.models.bert import LAYER_NAMES, LAYERS
from inglenook.models.config_reader import ConfigReader
from inglenook.models.encoder_config import EncoderConfig, HeadNames, read_encoder


def read_config(reader: ConfigReader, has_classifier: bool) -> EncoderConfig:
    return read_encoder(
        reader,
        "roberta",
        has_classifier,
        keys={},
        layers=LAYERS,
        layer_names=LAYER_NAMES,
        head_names=HeadNames("classifier.dense", "tanh", "classifier.out_proj"),
        num_token_types=reader.integer("type_vocab_size", 2),
        first_position=reader.integer("pad_token_id", 1, low=0) + 1,
    )
