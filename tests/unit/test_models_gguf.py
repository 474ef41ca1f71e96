"""Reading GGUF metadata strictly: what the keys say, and what only the tensors do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inglenook.errors import UnsupportedModelError
from inglenook.models.registry import ModelConfig, read_config
from inglenook.ops.weights import HostTensor

METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.block_count": 2,
    "llama.context_length": 512,
    "llama.embedding_length": 48,
    "llama.feed_forward_length": 80,
    "llama.attention.head_count": 6,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 5000.0,
    "llama.rope.dimension_count": 8,
    "llama.vocab_size": 100,
    "tokenizer.ggml.tokens": ["x"] * 100,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.eot_token_id": 3,
}
PLAIN = [5000 ** (-i / 4) for i in range(4)]
REQUIRED = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_rms_epsilon",
]


def tensor(name: str, *shape: int, values: list[float] | None = None) -> HostTensor:
    data = np.zeros(shape, np.float32) if values is None else np.asarray(values, np.float32)
    return HostTensor(name, shape, "f32", data.reshape(-1).view(np.uint8))


def read(*tensors: HostTensor, **changes: Any) -> ModelConfig:
    """METADATA with llama.* keys changed (dots as double underscores); None leaves a key out."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    named = {key if key.startswith("tokenizer") else f"llama.{key}": value for key, value in named.items()}
    metadata = {key: value for key, value in {**METADATA, **named}.items() if value is not None}
    return read_config(metadata, format="gguf", tensors={t.name: t for t in tensors})


def refused(*tensors: HostTensor, **changes: Any) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        read(*tensors, **changes)
    return caught.value.message


def test_reads_every_field() -> None:
    config = read()
    assert (config.architecture, config.vocab_size, config.hidden_size) == ("llama", 100, 48)
    assert (config.intermediate_size, config.num_layers, config.num_heads) == (80, 2, 6)
    assert (config.num_kv_heads, config.head_dim, config.max_position) == (2, 8, 512)
    assert (config.bos_token_id, config.eos_token_ids) == (1, (2, 3))
    assert config.rope.style == "interleaved"
    assert config.rope.inverse_frequencies == pytest.approx(PLAIN)


def test_tensors_tell_what_keys_do_not() -> None:
    assert read().tie_word_embeddings and not read(tensor("lm_head.weight", 100, 48)).tie_word_embeddings
    assert read(tensor("model.layers.0.self_attn.q_proj.bias", 48)).attention_bias
    assert read(tensor("model.layers.0.mlp.gate_proj.bias", 80)).mlp_bias
    assert not read().attention_bias and not read().mlp_bias


def test_vocabulary_is_as_large_as_the_embedding() -> None:
    embedding = tensor("model.embed_tokens.weight", 128, 48)
    assert read(embedding).vocab_size == 128
    assert read(vocab_size=None).vocab_size == 100
    assert "tokenizer.ggml.tokens" in refused(tensor("model.embed_tokens.weight", 99, 48))
    assert "vocab_size" in refused(vocab_size=None, tokenizer__ggml__tokens=None)


def test_head_width_and_partial_rotation() -> None:
    config = read(attention__key_length=16, attention__value_length=16, rope__dimension_count=None)
    assert (config.head_dim, len(config.rope.inverse_frequencies)) == (16, 8)
    assert len(read(rope__dimension_count=4).rope.inverse_frequencies) == 2
    assert "rope.dimension_count" in refused(rope__dimension_count=10)
    assert "attention.value_length" in refused(attention__key_length=16, attention__value_length=8)


def test_rope_scaling() -> None:
    linear = read(rope__scaling__type="linear", rope__scaling__factor=4.0)
    assert linear.rope.inverse_frequencies == pytest.approx([f / 4 for f in PLAIN])
    assert read(rope__scale_linear=4.0) == linear
    assert read(rope__scaling__type="none", rope__scaling__finetuned=True) == read()
    assert "rope.scaling.type" in refused(rope__scaling__type="yarn")


def test_rope_divisors() -> None:
    divisors = tensor("rope_freqs.weight", 4, values=[1, 1, 2, 8])
    expected = [f / d for f, d in zip(PLAIN, [1, 1, 2, 8], strict=True)]
    assert read(divisors).rope.inverse_frequencies == pytest.approx(expected)
    assert "rope_freqs" in refused(tensor("rope_freqs.weight", 3, values=[1, 1, 1]))
    assert "rope_freqs" in refused(tensor("rope_freqs.weight", 4, values=[1, 0, 1, 1]))
    assert "rope_freqs" in refused(tensor("rope_freqs.weight", 4, values=[1, float("inf"), 1, 1]))


@pytest.mark.parametrize("key", REQUIRED)
def test_missing_key_is_named(key: str) -> None:
    assert repr(f"llama.{key}") in refused(**{key: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expert_count", 8),
        ("attention.head_count_kv", [2, 2]),
        ("attention.head_count_kv", 5),
        ("attn_logit_softcapping", 30.0),
        ("block_count", 2**31),
        ("rope.freq_base", float("inf")),
    ],
)
def test_unsupported_value_is_named(key: str, value: object) -> None:
    assert f"llama.{key}" in refused(**{key: value})


def test_other_architectures_are_named() -> None:
    with pytest.raises(UnsupportedModelError, match=r"general\.architecture is 'gptj'; it must be llama"):
        read_config({**METADATA, "general.architecture": "gptj"}, format="gguf")


def test_sliding_window() -> None:
    assert read(attention__sliding_window=64).sliding_window == 64
