"""Weights at rest: how a checkpoint stores them, and in which format a back end keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from inglenook.config import DType, Quantization

# How a checkpoint may store a tensor. The names of block formats are GGUF's (ggml's block layouts).
Encoding = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"]

# What a back end keeps a matrix in. Quantised: unsigned codes of 4 to 8 bits in groups of 32 inputs (16 for q6_k),
# weight = scale * (code - zero_point) or scale * code + minimum.
WeightFormat = Literal["f32", "f16", "bf16", "q8", "q6", "q5", "q4"]


@dataclass(frozen=True)
class BlockLayout:
    """Of one encoding: `block_size` consecutive weights of a row take `block_bytes` bytes."""

    block_size: int
    block_bytes: int


BLOCK_LAYOUTS: dict[Encoding, BlockLayout] = {
    "f32": BlockLayout(1, 4),
    "f16": BlockLayout(1, 2),
    "bf16": BlockLayout(1, 2),
    "q8_0": BlockLayout(32, 34),
    "q4_0": BlockLayout(32, 18),
    "q4_1": BlockLayout(32, 20),
    "q5_0": BlockLayout(32, 22),
    "q5_1": BlockLayout(32, 24),
    "q4_k": BlockLayout(256, 144),
    "q5_k": BlockLayout(256, 176),
    "q6_k": BlockLayout(256, 210),
}


@dataclass(frozen=True)
class HostTensor:
    """A tensor as it lies in a checkpoint: usually a view into a memory map, never copied to be described.

    `shape` is row-major, [out_features, in_features] for a matrix; `data` is one-dimensional uint8, exactly
    the encoded bytes, rows one after another.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    data: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class KeptWeight:
    """A weight in the engine's memory."""

    format: WeightFormat
    num_bytes: int


FLOAT_FORMATS: dict[DType, Literal["f32", "f16", "bf16"]] = {
    "float32": "f32",
    "float": "f32",
    "float16": "f16",
    "half": "f16",
    "bfloat16": "bf16",
}
OWN_FORMATS: dict[Encoding, WeightFormat] = {
    "f32": "f32",
    "f16": "f16",
    "bf16": "bf16",
    "q8_0": "q8",
    "q4_0": "q4",
    "q4_1": "q4",
    "q4_k": "q4",
    "q5_0": "q5",
    "q5_1": "q5",
    "q5_k": "q5",
    "q6_k": "q6",
}
# In the native layout: inputs that share a scale, and bytes for 16 rows of them, without scales and minimums.
GROUP_SIZES: dict[WeightFormat, int] = {"q8": 32, "q6": 16, "q5": 32, "q4": 32}
CODE_BYTES: dict[WeightFormat, int] = {"q8": 512, "q6": 192, "q5": 320, "q4": 256}
TILE_ROWS = 16
SCALE_BLOCK = 256  # inputs whose 8-bit scales (K-quants) share a factor
ALIGNMENT = 64


def is_float_encoding(encoding: Encoding) -> bool:
    return encoding in ("f32", "f16", "bf16")


def storage_format(tensor: HostTensor, dtype: DType = "auto", quantization: Quantization | None = None) -> WeightFormat:
    """The format in which the engine keeps a weight.

    Vectors are float32 and quantised encodings keep their own bits. Of float matrices, `quantization` takes those
    whose rows are whole groups of 32; `dtype` sets the format of the others, "auto" the checkpoint's.
    """
    if len(tensor.shape) < 2:
        return "f32"
    if not is_float_encoding(tensor.encoding):
        return OWN_FORMATS[tensor.encoding]
    if quantization is not None and tensor.shape[-1] % GROUP_SIZES[quantization] == 0:
        return quantization
    return OWN_FORMATS[tensor.encoding] if dtype == "auto" else FLOAT_FORMATS[dtype]


def packed_nbytes(shape: tuple[int, ...], encoding: Encoding, format: WeightFormat) -> int:
    """Bytes that a weight takes in the native layout (PackedWeight in native/src/kernels.h). Vectors are float32."""
    if len(shape) < 2:
        return _align(4 * prod(shape))
    out_features, in_features = shape
    num_tiles = -(-out_features // TILE_ROWS)
    if format in ("f32", "f16", "bf16"):
        num_inputs = in_features + in_features % 2 if format == "bf16" else in_features
        return num_tiles * _align(num_inputs * TILE_ROWS * (4 if format == "f32" else 2))
    has_minimum = encoding in ("q4_1", "q5_1", "q4_k", "q5_k") or (is_float_encoding(encoding) and format == "q4")
    num_factors = TILE_ROWS * (2 if has_minimum else 1)
    in_blocks = encoding in ("q4_k", "q5_k", "q6_k")
    header_bytes = 2 * num_factors * (in_features // SCALE_BLOCK) if in_blocks else 0
    record_bytes = CODE_BYTES[format] + num_factors * (1 if in_blocks else 2)
    return num_tiles * _align(header_bytes + in_features // GROUP_SIZES[format] * record_bytes)


def _align(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT
