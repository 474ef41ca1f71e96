"""Write a 4-bit GGUF file of a Llama of 1.07 billion random weights, with the tokenizer of another GGUF file.

    python benchmarks/random_gguf.py TOKENIZER.gguf OUT.gguf

For measuring what needs a real file of that size. Needs the `gguf` package.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

HIDDEN, LAYERS, HEADS, KV_HEADS, FFN, CONTEXT = 2048, 16, 32, 8, 8192, 8192
HEAD_DIM = HIDDEN // HEADS


def main(source: Path, path: Path) -> None:
    writer = GGUFWriter(path, "llama")
    vocabulary = copy_tokenizer(GGUFReader(source), writer)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)
    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        blocks = random.integers(0, 256, (rows, columns // 32, 18), dtype=np.uint8)
        scale = np.array([0.02 / 8], np.float16).view(np.uint8)
        blocks[:, :, :2] = scale
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=GGMLQuantizationType.Q4_0)

    def vector(name: str) -> None:
        writer.add_tensor(name, np.ones(HIDDEN, np.float32))

    matrix("token_embd.weight", vocabulary, HIDDEN)
    vector("output_norm.weight")
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        vector(prefix + "attn_norm.weight")
        vector(prefix + "ffn_norm.weight")
        matrix(prefix + "attn_q.weight", HIDDEN, HIDDEN)
        matrix(prefix + "attn_k.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(prefix + "attn_v.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(prefix + "attn_output.weight", HIDDEN, HIDDEN)
        matrix(prefix + "ffn_gate.weight", FFN, HIDDEN)
        matrix(prefix + "ffn_up.weight", FFN, HIDDEN)
        matrix(prefix + "ffn_down.weight", HIDDEN, FFN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy_tokenizer(reader: GGUFReader, writer: GGUFWriter) -> int:
    """Returns the number of tokens."""
    for name, field in reader.fields.items():
        if not name.startswith("tokenizer."):
            continue
        kind = field.types[0]
        if kind is GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), kind)
    return len(reader.fields["tokenizer.ggml.tokens"].contents())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
