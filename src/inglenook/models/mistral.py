"""Mistral 7B (Jiang et al. 2023, arXiv:2310.06825): a Llama without biases whose attention sees a sliding window."""

from __future__ import annotations

from inglenook.models.config_reader import ConfigReader
from inglenook.models.huggingface_config import read_decoder
from inglenook.models.model_config import ModelConfig


def read_config(reader: ConfigReader) -> ModelConfig:
    return read_decoder(reader, "mistral", sliding_window=reader.optional_integer("sliding_window"))
