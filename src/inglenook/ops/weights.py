"""Weights at rest: how a checkpoint stores them, and in which format a back end keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

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
