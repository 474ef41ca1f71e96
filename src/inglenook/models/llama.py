"""Llama (Touvron et al. 2023, arXiv:2302.13971) and what has its shape: SmolLM2, TinyLlama, Llama 3, ..."""

from __future__ import annotations

from inglenook.models.config_reader import ConfigReader
from inglenook.models.huggingface_config import read_decoder
from inglenook.models.model_config import ModelConfig


def read_config(reader: ConfigReader) -> ModelConfig:
    return read_decoder(
        reader,
        "llama",
        attention_bias=reader.flag("attention_bias", False),
        mlp_bias=reader.flag("mlp_bias", False),
    )
