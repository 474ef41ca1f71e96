"""Reading config.json strictly, and the programs that come of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inglenook.errors import UnsupportedModelError
from inglenook.models.registry import ModelConfig, build_program, read_config
from inglenook.ops.program import Attention, Linear, Rope

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "_name_or_path": "somewhere",
    "rope_interleaved": False,
    "transformers_version": "4.42.0",
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
REQUIRED = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
]


def read(**changes: Any) -> ModelConfig:
    """LLAMA with some keys changed; None leaves a key out."""
    config = {key: value for key, value in {**LLAMA, **changes}.items() if value is not None}
    return read_config(config, format="safetensors")


def refused(**changes: Any) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        read(**changes)
    return caught.value.message


def test_reads_every_field() -> None:
    config = read(attention_bias=True)
    assert (config.architecture, config.vocab_size, config.hidden_size) == ("llama", 100, 48)
    assert (config.intermediate_size, config.num_layers, config.num_heads) == (80, 2, 6)
    assert (config.num_kv_heads, config.head_dim, config.max_position) == (2, 16, 512)
    assert (config.rms_norm_eps, config.tie_word_embeddings) == (1e-5, False)
    assert (config.attention_bias, config.mlp_bias, config.sliding_window) == (True, False, None)
    assert (config.bos_token_id, config.eos_token_ids) == (1, (2, 3))
    assert config.rope.style == "half" and config.rope.scale == 1.0
    assert config.rope.inverse_frequencies == pytest.approx([10000 ** (-i / 8) for i in range(8)])


def test_defaults_are_those_of_the_format() -> None:
    config = read(num_key_value_heads=None, head_dim=None, rope_theta=None, tie_word_embeddings=None, eos_token_id=None)
    assert (config.num_kv_heads, config.head_dim, config.tie_word_embeddings) == (6, 8, False)
    assert config.rope.inverse_frequencies[1] == pytest.approx(10000 ** (-1 / 4))
    assert config.eos_token_ids == ()
    assert read(eos_token_id=7).eos_token_ids == (7,)
    assert read(max_sequence_length=2048).max_position == 2048


def test_model_type_stands_in_for_architectures() -> None:
    assert read(architectures=None).architecture == "llama"
    assert "model_type" in refused(architectures=None, model_type=None)


@pytest.mark.parametrize("key", REQUIRED)
def test_missing_key_is_named(key: str) -> None:
    assert repr(key) in refused(**{key: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", 0),
        ("vocab_size", "100"),
        ("hidden_size", 48.0),
        ("num_hidden_layers", True),
        ("num_hidden_layers", 10**6),
        ("num_key_value_heads", 4),
        ("num_key_value_heads", -2),
        ("head_dim", 2**40),
        ("hidden_act", "gelu"),
        ("hidden_act", ["silu"]),
        ("rms_norm_eps", float("nan")),
        ("rms_norm_eps", -1e-5),
        ("attention_bias", 1),
        ("tie_word_embeddings", "yes"),
        ("eos_token_id", [2, "x"]),
        ("bos_token_id", -1),
        ("rope_theta", 0),
        ("rope_scaling", "linear"),
        ("partial_rotary_factor", 0.5),
        ("architectures", ["LlamaForCausalLM", "MistralForCausalLM"]),
        ("architectures", ["LlamaForSequenceClassification"]),
        ("architectures", "LlamaForCausalLM"),
        ("quantization_config", {"quant_method": "gptq"}),
        ("sliding_window", 4096),
        ("auto_map", {"AutoModel": "code.Model"}),
    ],
)
def test_unsupported_value_is_named(key: str, value: object) -> None:
    assert key in refused(**{key: value})


def test_odd_shapes_are_refused() -> None:
    assert "even" in refused(head_dim=15)
    assert "hidden_size" in refused(head_dim=None, hidden_size=50)


@settings(deadline=None)  # a busy machine isn't an error
@given(
    st.sampled_from(sorted(LLAMA)), st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.lists(st.none()))
)
def test_any_value_reads_or_is_refused(key: str, value: object) -> None:
    try:
        config = read(**{key: value})
    except UnsupportedModelError:
        return
    assert config.num_parameters > 0


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
def test_llama3_rope(name: str) -> None:
    """The longest and the shortest waves are known without the formula in between."""
    plain = read(head_dim=64, rope_theta=500000.0).rope.inverse_frequencies
    scaled = read(head_dim=64, rope_theta=500000.0, **{name: LLAMA3}).rope.inverse_frequencies
    for before, after in zip(plain, scaled, strict=True):
        turns = 8192 * before / (2 * math.pi)
        if turns > 4:
            assert after == before
        elif turns < 1:
            assert after == pytest.approx(before / 32)
        else:
            assert before / 32 < after < before
    assert 1 < sum(a == b for a, b in zip(plain, scaled, strict=True)) < 31


def test_linear_rope_and_older_name_of_its_type() -> None:
    plain = read().rope.inverse_frequencies
    for scaling in ({"type": "linear", "factor": 4.0}, {"type": "linear", "rope_type": "linear", "factor": 4}):
        assert read(rope_scaling=scaling).rope.inverse_frequencies == pytest.approx([f / 4 for f in plain])


def test_newer_rope_parameters() -> None:
    parameters = {"rope_type": "default", "rope_theta": 500.0}
    config = read(rope_theta=None, rope_parameters=parameters)
    assert config.rope.inverse_frequencies[1] == pytest.approx(500.0 ** (-1 / 8))
    assert read(rope_theta=500.0, rope_parameters=parameters) == config
    assert "rope_theta" in refused(rope_theta=600.0, rope_parameters=parameters)
    assert "rope_parameters" in refused(
        rope_theta=None, rope_parameters=parameters, rope_scaling={"type": "linear", "factor": 2.0}
    )


@pytest.mark.parametrize(
    ("scaling", "named"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, "rope_scaling.rope_type"),
        ({"type": "dynamic", "factor": 4.0}, "rope_scaling.rope_type"),
        ({"factor": 4.0}, "rope_scaling.rope_type"),
        ({"rope_type": "linear"}, "rope_scaling.factor"),
        ({**LLAMA3, "low_freq_factor": None}, "rope_scaling.low_freq_factor"),
        ({"rope_type": "linear", "factor": 2.0, "mscale": 0.7}, "rope_scaling.mscale"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "rope_scaling.partial_rotary_factor"),
    ],
)
def test_unsupported_rope_is_named(scaling: dict[str, object], named: str) -> None:
    assert named in refused(rope_scaling=scaling)


def test_mistral_has_a_window_and_no_biases() -> None:
    mistral = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    config = read(**mistral, sliding_window=64)
    assert (config.architecture, config.sliding_window, config.attention_bias) == ("mistral", 64, False)
    assert read(**mistral).sliding_window is None
    assert "attention_bias" in refused(**mistral, attention_bias=True)


# --- programs ---------------------------------------------------------------------------------------------------


def test_program_of_a_llama() -> None:
    config = read(attention_bias=True, mlp_bias=True)
    program = build_program(config)
    shapes = {name: weight.shape for name, weight in program.weights.items()}
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == (100, 48)
    assert shapes["model.layers.1.self_attn.q_proj.weight"] == (96, 48)
    assert shapes["model.layers.1.self_attn.v_proj.bias"] == (32,)
    assert shapes["model.layers.1.self_attn.o_proj.weight"] == (48, 96)
    assert shapes["model.layers.0.mlp.down_proj.weight"] == (48, 80)
    assert shapes["model.layers.0.mlp.up_proj.bias"] == (80,)
    assert shapes["model.norm.weight"] == (48,)
    assert [spec.layer for spec in program.kv_layers] == [0, 1]
    assert {spec.scale for spec in program.kv_layers} == {0.25}
    assert program.output is not None and program.output.width == 100
    assert sum(isinstance(op, Linear) for op in program.ops) == 2 * 4 + 1


def test_tied_embeddings_are_one_weight() -> None:
    program = build_program(read(tie_word_embeddings=True))
    assert "lm_head.weight" not in program.weights
    last = program.ops[-1]
    assert isinstance(last, Linear) and last.weights[0].name == "model.embed_tokens.weight"


@pytest.mark.parametrize("options", [{}, {"tie_word_embeddings": True}, {"attention_bias": True}, {"mlp_bias": True}])
def test_num_parameters(options: dict[str, Any]) -> None:
    config = read(**options)
    weights = build_program(config).weights.values()
    assert config.num_parameters == sum(math.prod(weight.shape) for weight in weights)


def test_rope_turns_queries_and_keys_but_not_values() -> None:
    program = build_program(read())
    rope = next(op for op in program.ops if isinstance(op, Rope))
    attention = next(op for op in program.ops if isinstance(op, Attention))
    assert rope.x.offset == attention.q.offset == 0
    assert rope.x.width == attention.q.width + attention.k.width == attention.v.offset
