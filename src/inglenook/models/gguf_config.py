"""GGUF metadata -> ModelConfig, for `general.architecture` llama (keys: ggml's docs/gguf.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inglenook.errors import UnsupportedModelError
from inglenook.layers.rope import Frequencies, divided, inverse_frequencies, linear_scaled
from inglenook.models.causal_lm import EMBEDDING
from inglenook.models.config_reader import LARGEST_NUM_LAYERS, ConfigReader
from inglenook.models.huggingface_config import check_heads, head_dim_of
from inglenook.models.model_config import ModelConfig
from inglenook.ops.program import RopeSpec
from inglenook.ops.weights import HostTensor

SOURCE = "GGUF metadata"
ROPE_DIVISORS = "rope_freqs.weight"

# Keys under the architecture's prefix that change nothing that is computed here.
IGNORED_KEYS = frozenset({"rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout"})
_END_TOKENS = ("eos_token_id", "eot_token_id", "eom_token_id")


def read_llama(metadata: Mapping[str, Any], tensors: Mapping[str, HostTensor] | None) -> ModelConfig:
    """What the keys don't say (tied embeddings, biases, rope divisors) is read off the tensors' names.

    The converter to GGUF reorders the rows of q_proj and k_proj so that rotated pairs are neighbours.
    """
    tensors = tensors or {}
    prefix = "llama."
    keys = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    reader = ConfigReader(keys, SOURCE, prefix)
    hidden_size = reader.integer("embedding_length")
    num_heads = reader.integer("attention.head_count")
    num_kv_heads = reader.integer("attention.head_count_kv", num_heads)
    head_dim = reader.optional_integer("attention.key_length")
    if head_dim is None:
        head_dim = head_dim_of(reader, hidden_size, num_heads, "embedding_length", "attention.head_count")
    if reader.integer("attention.value_length", head_dim) != head_dim:
        raise reader.unsupported("attention.value_length", f"{head_dim}, as wide as the keys")
    check_heads(reader, head_dim, num_heads, num_kv_heads, "attention.head_count_kv")
    if reader.integer("expert_count", 0, low=0):
        raise reader.unsupported("expert_count", "0: mixtures of experts aren't supported yet")
    reader.integer("expert_used_count", 0, low=0)
    tokenizer = ConfigReader(metadata, SOURCE)
    config = ModelConfig(
        architecture="llama",
        vocab_size=_vocab_size(reader, metadata, tensors),
        hidden_size=hidden_size,
        intermediate_size=reader.integer("feed_forward_length"),
        num_layers=reader.integer("block_count", high=LARGEST_NUM_LAYERS),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        max_position=reader.integer("context_length"),
        rms_norm_eps=reader.number("attention.layer_norm_rms_epsilon"),
        rope=RopeSpec(_read_frequencies(reader, head_dim, tensors.get(ROPE_DIVISORS)), "interleaved"),
        tie_word_embeddings="lm_head.weight" not in tensors,
        attention_bias="model.layers.0.self_attn.q_proj.bias" in tensors,
        mlp_bias="model.layers.0.mlp.gate_proj.bias" in tensors,
        sliding_window=reader.optional_integer("attention.sliding_window"),
        bos_token_id=tokenizer.optional_integer("tokenizer.ggml.bos_token_id", low=0),
        eos_token_ids=_end_token_ids(tokenizer),
    )
    reader.refuse_unread(IGNORED_KEYS)
    return config


def _vocab_size(reader: ConfigReader, metadata: Mapping[str, Any], tensors: Mapping[str, HostTensor]) -> int:
    """The embedding's rows say it, if we have them: some files pad it beyond the tokenizer's tokens."""
    num_tokens = len(metadata.get("tokenizer.ggml.tokens", ()))
    stated = reader.optional_integer("vocab_size")
    embedding = tensors.get(f"{EMBEDDING}.weight")
    vocab_size = embedding.shape[0] if embedding is not None else stated or num_tokens
    if not vocab_size:
        raise UnsupportedModelError(f"{SOURCE} has neither 'llama.vocab_size' nor 'tokenizer.ggml.tokens'.")
    if num_tokens > vocab_size:
        raise UnsupportedModelError(
            f"{SOURCE}: tokenizer.ggml.tokens has {num_tokens} tokens, but the model has embeddings for {vocab_size}.",
            param="tokenizer.ggml.tokens",
        )
    return vocab_size


def _end_token_ids(tokenizer: ConfigReader) -> tuple[int, ...]:
    """End of text, of turn and of message each end an answer."""
    ids = (tokenizer.optional_integer(f"tokenizer.ggml.{name}", low=0) for name in _END_TOKENS)
    return tuple(dict.fromkeys(i for i in ids if i is not None))


def _read_frequencies(reader: ConfigReader, head_dim: int, divisors: HostTensor | None) -> Frequencies:
    num_rotated = reader.integer("rope.dimension_count", head_dim, low=2, high=head_dim)
    frequencies = inverse_frequencies(reader.number("rope.freq_base", 10000.0), num_rotated)
    legacy_factor = reader.optional_number("rope.scale_linear")
    scaling = reader.choice("rope.scaling.type", {"none", "linear"}, "none" if legacy_factor is None else "linear")
    factor = reader.number("rope.scaling.factor", legacy_factor or 1.0)
    if scaling == "linear":
        frequencies = linear_scaled(frequencies, factor)
    if divisors is None:
        return frequencies
    if divisors.encoding != "f32" or divisors.shape != (len(frequencies),):
        raise UnsupportedModelError(
            f"{ROPE_DIVISORS} is {divisors.encoding} {divisors.shape}; it must be f32 ({len(frequencies)},).",
            param=ROPE_DIVISORS,
        )
    values = divisors.data.view(np.float32)
    if not np.all(np.isfinite(values) & (values > 0)):
        raise UnsupportedModelError(f"{ROPE_DIVISORS} holds values that aren't above 0.", param=ROPE_DIVISORS)
    return divided(frequencies, values.tolist())
