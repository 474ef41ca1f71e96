"""Writes random weights in the shape of a dummy model as a GGUF file, for engines that can't make them themselves.

    python benchmarks/dummy_gguf.py 1b build/dummy-1b.gguf

The tokenizer is that of the default model, whose vocabulary the dummy shapes share.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from inglenook.checkpoint.checkpoint import open_checkpoint
from inglenook.checkpoint.dummy import DummyTensors, dummy_config
from inglenook.config import DEFAULT_MODEL
from inglenook.models.registry import build_program, read_config
from inglenook.ops.weights import HostTensor
from inglenook.settings import home_folder
from inglenook.store.store import ModelStore

ALIGNMENT = 32
_FLOAT, _BOOL, _STRING, _ARRAY, _U32 = 6, 7, 8, 9, 4  # GGUF's value types
_ARRAY_TYPES = {"int32": 5, "uint32": 4, "float32": 6}
_TENSOR_TYPES = {"f32": 0, "q4_0": 2}
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.layers.": "blk.",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_dummy_gguf(shape: str, donor: Mapping[str, Any], file: BinaryIO) -> None:
    """`donor` is the metadata of a file with the shape's vocabulary; everything but sizes is taken from it."""
    values = dummy_config(shape)
    weights = build_program(read_config(values, format="dummy")).weights
    metadata = {**donor, **_sizes(values), "general.name": f"dummy {shape}", "general.file_type": 2}
    tensors = list(DummyTensors(weights, "q4_0").values())
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(_string(key) + _value(value))
    offset = 0
    for tensor in tensors:
        shape_bytes = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
        file.write(_string(gguf_name(tensor.name)) + shape_bytes)
        file.write(struct.pack("<IQ", _TENSOR_TYPES[tensor.encoding], offset))
        offset += _padded(tensor)
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    for tensor in tensors:
        file.write(tensor.data.tobytes() + b"\0" * (_padded(tensor) - tensor.data.nbytes))


def gguf_name(name: str) -> str:
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _sizes(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "llama.block_count": values["num_hidden_layers"],
        "llama.context_length": values["max_position_embeddings"],
        "llama.embedding_length": values["hidden_size"],
        "llama.feed_forward_length": values["intermediate_size"],
        "llama.attention.head_count": values["num_attention_heads"],
        "llama.attention.head_count_kv": values["num_key_value_heads"],
        "llama.rope.dimension_count": values["hidden_size"] // values["num_attention_heads"],
        "llama.rope.freq_base": values["rope_theta"],
        "llama.attention.layer_norm_rms_epsilon": values["rms_norm_eps"],
        "llama.vocab_size": values["vocab_size"],
    }


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<IB", _BOOL, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case int():
            return struct.pack("<II", _U32, value)
        case float():
            return struct.pack("<If", _FLOAT, value)
        case np.ndarray():
            return struct.pack("<IIQ", _ARRAY, _ARRAY_TYPES[value.dtype.name], len(value)) + value.tobytes()
        case _:
            return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))


def _padded(tensor: HostTensor) -> int:
    return -(-tensor.data.nbytes // ALIGNMENT) * ALIGNMENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    donor = ModelStore(home_folder()).resolve(DEFAULT_MODEL).path
    assert donor is not None
    options.file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = open_checkpoint(donor)
    with options.file.open("wb") as file:
        write_dummy_gguf(options.shape, checkpoint.config, file)
    checkpoint.close()


if __name__ == "__main__":
    main()
