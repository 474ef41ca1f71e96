"""Hugging Face's config.json -> ModelConfig, as far as Llama-like decoders share its keys."""

from __future__ import annotations

from typing import Any

from inglenook.errors import UnsupportedModelError
from inglenook.layers.rope import Frequencies, inverse_frequencies, linear_scaled, llama3_scaled
from inglenook.models.config_reader import LARGEST_NUM_LAYERS, ConfigReader
from inglenook.models.model_config import ModelConfig
from inglenook.ops.program import RopeSpec

SOURCE = "config.json"
DEFAULT_ROPE_THETA = 10000.0  # of files older than the key

# Keys that don't change what the model computes from its weights: training, other programs, bookkeeping.
IGNORED_KEYS = frozenset(
    {
        "architectures",
        "attention_dropout",
        "dtype",
        "initializer_range",
        "is_llama_config",
        "is_matryoshka",
        "matryoshka_dimensions",
        "model_type",
        "name_or_path",
        "pad_token_id",
        "pretraining_tp",
        "sentence_transformers",
        "tokenizer_class",
        "torch_dtype",
        "unk_token_id",
        "use_cache",
    }
)
IGNORED_PREFIXES = ("_", "transformers", "unsloth_")


def read_decoder(reader: ConfigReader, architecture: str, **options: Any) -> ModelConfig:
    """The keys that all Llama-like decoders share; `options` are the fields that only this one has."""
    hidden_size = reader.integer("hidden_size")
    num_heads = reader.integer("num_attention_heads")
    num_kv_heads = reader.integer("num_key_value_heads", num_heads)
    head_dim = reader.optional_integer("head_dim")
    if head_dim is None:
        head_dim = head_dim_of(reader, hidden_size, num_heads, "hidden_size", "num_attention_heads")
    check_heads(reader, head_dim, num_heads, num_kv_heads, "num_key_value_heads")
    reader.choice("hidden_act", {"silu"})
    max_position = reader.integer("max_position_embeddings")
    config = ModelConfig(
        architecture=architecture,
        vocab_size=reader.integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=reader.integer("intermediate_size"),
        num_layers=reader.integer("num_hidden_layers", high=LARGEST_NUM_LAYERS),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        # Vicuna states its original context under the first key and the one that it was tuned for under this one.
        max_position=reader.integer("max_sequence_length", max_position),
        rms_norm_eps=reader.number("rms_norm_eps"),
        rope=RopeSpec(_read_frequencies(reader, head_dim), "half"),
        tie_word_embeddings=reader.flag("tie_word_embeddings", False),
        bos_token_id=reader.optional_integer("bos_token_id", low=0),
        eos_token_ids=reader.token_ids("eos_token_id"),
        **options,
    )
    reader.refuse_unread(IGNORED_KEYS, IGNORED_PREFIXES)
    return config


def head_dim_of(reader: ConfigReader, hidden_size: int, num_heads: int, size_key: str, heads_key: str) -> int:
    """What a head's width is where the file doesn't say."""
    if hidden_size % num_heads:
        raise UnsupportedModelError(
            f"{reader.source}: {size_key} ({hidden_size}) isn't a multiple of {heads_key} ({num_heads}) "
            "and no head size is given.",
            param=size_key,
        )
    return hidden_size // num_heads


def check_heads(reader: ConfigReader, head_dim: int, num_heads: int, num_kv_heads: int, kv_heads_key: str) -> None:
    if num_heads % num_kv_heads:
        raise reader.unsupported(kv_heads_key, f"a divisor of the number of heads, {num_heads}")
    if head_dim % 2:
        raise UnsupportedModelError(f"{reader.source}: a head is {head_dim} wide; rotary positions need an even width.")


def _read_frequencies(reader: ConfigReader, head_dim: int) -> Frequencies:
    settings = _rope_settings(reader)
    frequencies = inverse_frequencies(settings.number("rope_theta", DEFAULT_ROPE_THETA), head_dim)
    rope_type = settings.choice("rope_type", {"default", "linear", "llama3"})
    if rope_type == "linear":
        frequencies = linear_scaled(frequencies, settings.number("factor"))
    elif rope_type == "llama3":
        frequencies = llama3_scaled(
            frequencies,
            factor=settings.number("factor"),
            low_freq_factor=settings.number("low_freq_factor"),
            high_freq_factor=settings.number("high_freq_factor"),
            original_max_position=settings.integer("original_max_position_embeddings"),
        )
    if settings.number("partial_rotary_factor", 1.0) != 1.0:
        raise settings.unsupported("partial_rotary_factor", "1")
    settings.refuse_unread({"original_max_position_embeddings"})
    return frequencies


def _rope_settings(reader: ConfigReader) -> ConfigReader:
    """`rope_parameters` (transformers 5), `rope_scaling` and `rope_theta` (before) as one; they may not disagree."""
    merged: dict[str, Any] = {}

    def merge(name: str, value: Any, key: str) -> None:
        if value is not None and merged.setdefault(name, value) != value:
            raise reader.unsupported(key, f"the same as elsewhere in the file: {name} is {merged[name]!r} there")

    prefix = "rope_parameters."
    for key in ("rope_scaling", "rope_parameters"):
        section = reader.section(key)
        if section is not None:
            prefix = section.prefix
            for name, value in section.values.items():
                merge("rope_type" if name == "type" else name, value, key)
    merge("rope_theta", reader.optional_number("rope_theta"), "rope_theta")
    if set(merged) <= {"rope_theta"}:
        merged["rope_type"] = "default"
    return ConfigReader(merged, reader.source, prefix)
