"""Decodes every encoding of weights.py to float32: the readable reference for packers and kernels.

Block layouts are ggml's (ggml-common.h); the arithmetic and its order are those of its reference decoder, so that
results agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from inglenook.ops.weights import BLOCK_LAYOUTS, Encoding, HostTensor

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
Blocks = npt.NDArray[np.void]  # one record per block

BLOCKS_PER_PASS = 65536  # keeps temporaries small beside the result

# One record per block; "scale" and "minimum" are ggml's d and m (dmin).
BLOCK_DTYPES: dict[Encoding, np.dtype[np.void]] = {
    "q8_0": np.dtype([("scale", "<f2"), ("codes", "i1", 32)]),
    "q4_0": np.dtype([("scale", "<f2"), ("codes", "u1", 16)]),
    "q4_1": np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("codes", "u1", 16)]),
    "q5_0": np.dtype([("scale", "<f2"), ("high_bits", "u1", 4), ("codes", "u1", 16)]),
    "q5_1": np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("high_bits", "u1", 4), ("codes", "u1", 16)]),
    "q4_k": np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("group_scales", "u1", 12), ("codes", "u1", 128)]),
    "q5_k": np.dtype(
        [
            ("scale", "<f2"),
            ("minimum", "<f2"),
            ("group_scales", "u1", 12),
            ("high_bits", "u1", 32),
            ("codes", "u1", 128),
        ]
    ),
    "q6_k": np.dtype([("codes", "u1", 128), ("high_bits", "u1", 64), ("group_scales", "i1", 16), ("scale", "<f2")]),
}


def dequantize(tensor: HostTensor) -> Floats:
    """The tensor's values as float32, in its shape. f16 and bf16 widen exactly."""
    match tensor.encoding:
        case "f32":
            values = tensor.data.view("<f4").astype(np.float32)
        case "f16":
            values = tensor.data.view("<f2").astype(np.float32)
        case "bf16":
            values = _decode_bf16(tensor.data)
        case encoding:
            values = _decode_blocks(tensor.data.view(BLOCK_DTYPES[encoding]), encoding)
    return values.reshape(tensor.shape)


def _decode_bf16(data: Codes) -> Floats:
    # bfloat16 is the upper half of a float32
    return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _decode_blocks(blocks: Blocks, encoding: Encoding) -> Floats:
    decode = _DECODERS[encoding]
    values = np.empty((len(blocks), BLOCK_LAYOUTS[encoding].block_size), np.float32)
    for start in range(0, len(blocks), BLOCKS_PER_PASS):
        part = slice(start, start + BLOCKS_PER_PASS)
        values[part] = decode(blocks[part])
    return values


# --- groups of 32: each takes [blocks] and returns [blocks, 32] --------------------------------------------------


def _decode_q8_0(blocks: Blocks) -> Floats:
    return _column(blocks, "scale") * blocks["codes"].astype(np.float32)


def _decode_q4_0(blocks: Blocks) -> Floats:
    return _column(blocks, "scale") * (_nibbles(blocks["codes"]).astype(np.float32) - 8)


def _decode_q4_1(blocks: Blocks) -> Floats:
    return _column(blocks, "scale") * _nibbles(blocks["codes"]).astype(np.float32) + _column(blocks, "minimum")


def _decode_q5_0(blocks: Blocks) -> Floats:
    return _column(blocks, "scale") * (_five_bits(blocks).astype(np.float32) - 16)


def _decode_q5_1(blocks: Blocks) -> Floats:
    return _column(blocks, "scale") * _five_bits(blocks).astype(np.float32) + _column(blocks, "minimum")


def _column(blocks: Blocks, field: str) -> Floats:
    column: Floats = blocks[field].astype(np.float32)[:, np.newaxis]
    return column


def _nibbles(codes: Codes) -> Codes:
    """[..., n] bytes -> [..., 2n] values: all low nibbles, then all high ones."""
    return np.concatenate([codes & 0x0F, codes >> 4], axis=-1)


def _five_bits(blocks: Blocks) -> Codes:
    high = np.unpackbits(blocks["high_bits"], axis=-1, bitorder="little")  # bit i belongs to value i
    return _with_high_bits(_nibbles(blocks["codes"]), high)


def _with_high_bits(low: Codes, high: Codes) -> Codes:
    joined: Codes = low | (high << np.uint8(4))
    return joined


# --- super-blocks of 256: each returns [blocks, 256] -------------------------------------------------------------


def _decode_q4_k(blocks: Blocks) -> Floats:
    codes = _nibbles(blocks["codes"].reshape(-1, 4, 32))  # 32 bytes hold two neighbouring groups of 32
    return _scale_k_groups(blocks, codes)


def _decode_q5_k(blocks: Blocks) -> Floats:
    low = _nibbles(blocks["codes"].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    group = np.arange(8, dtype=np.uint8)[:, np.newaxis]
    high = (blocks["high_bits"][:, np.newaxis, :] >> group) & np.uint8(1)  # bit g of byte i: value i of group g
    return _scale_k_groups(blocks, _with_high_bits(low, high))


def _scale_k_groups(blocks: Blocks, codes: Codes) -> Floats:
    scale_codes, minimum_codes = _six_bit_scales(blocks["group_scales"])
    scales = _column(blocks, "scale") * scale_codes.astype(np.float32)
    minimums = _column(blocks, "minimum") * minimum_codes.astype(np.float32)
    values = scales[..., np.newaxis] * codes.reshape(-1, 8, 32).astype(np.float32) - minimums[..., np.newaxis]
    return values.reshape(len(blocks), 256)


def _six_bit_scales(packed: Codes) -> tuple[Codes, Codes]:
    """[blocks, 12] -> scales and minimums, [blocks, 8] each.

    Bytes 0-3 and 4-7 hold the first four scales and minimums in their low 6 bits; the last four have their low
    nibbles in bytes 8-11 and their two high bits atop the first four.
    """
    first_scales, first_minimums, low = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first_scales & 0x3F, (low & 0x0F) | ((first_scales >> 6) << 4)], axis=-1)
    minimums = np.concatenate([first_minimums & 0x3F, (low >> 4) | ((first_minimums >> 6) << 4)], axis=-1)
    return scales, minimums


def _decode_q6_k(blocks: Blocks) -> Floats:
    low = _nibbles(blocks["codes"].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    quarter = np.arange(0, 8, 2, dtype=np.uint8)[:, np.newaxis]
    high = (blocks["high_bits"].reshape(-1, 2, 1, 32) >> quarter) & np.uint8(3)
    codes = _with_high_bits(low, high).reshape(-1, 16, 16).astype(np.float32) - 32
    scales: Floats = _column(blocks, "scale") * blocks["group_scales"].astype(np.float32)
    return (scales[..., np.newaxis] * codes).reshape(len(blocks), 256)


_DECODERS: dict[Encoding, Callable[[Blocks], Floats]] = {
    "q8_0": _decode_q8_0,
    "q4_0": _decode_q4_0,
    "q4_1": _decode_q4_1,
    "q5_0": _decode_q5_0,
    "q5_1": _decode_q5_1,
    "q4_k": _decode_q4_k,
    "q5_k": _decode_q5_k,
    "q6_k": _decode_q6_k,
}
