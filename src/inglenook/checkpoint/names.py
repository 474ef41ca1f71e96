"""Tensor names: GGUF's to Hugging Face's, which are the canonical ones, and the list of what may be left unused."""

from __future__ import annotations

import re

_TOP_LEVEL = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_TOP_LEVEL_NAME = re.compile(r"(\w+)\.(weight|bias)")

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

# Left unused on purpose: what is computed from the configuration, or has been read into it.
IGNORED = re.compile(
    r"(.*\.)?position_ids"  # 0, 1, 2, ...: old versions of transformers saved them
    r"|(.*\.)?rotary_emb\.(inv_freq|cos_cached|sin_cached)"
    r"|rope_freqs\.weight"  # the frequencies' divisors, which the configuration takes over
)


def canonical_name(gguf_name: str) -> str:
    """The Hugging Face name of a GGUF tensor; names that aren't in the table stay as they are."""
    if match := _LAYER_NAME.fullmatch(gguf_name):
        layer, part, kind = match.groups()
        if part in _IN_LAYER:
            return f"model.layers.{int(layer)}.{_IN_LAYER[part]}.{kind}"
    elif (match := _TOP_LEVEL_NAME.fullmatch(gguf_name)) and match[1] in _TOP_LEVEL:
        return f"{_TOP_LEVEL[match[1]]}.{match[2]}"
    return gguf_name


def is_ignored(name: str) -> bool:
    return IGNORED.fullmatch(name) is not None
