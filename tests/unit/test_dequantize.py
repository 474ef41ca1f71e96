"""Our decoder against the gguf package's, bit for bit, on random blocks."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize as oracle

from inglenook.ops import dequantize as module
from inglenook.ops.dequantize import BLOCK_DTYPES, dequantize
from inglenook.ops.weights import BLOCK_LAYOUTS, Encoding, HostTensor

ROWS = 7


def random_tensor(encoding: Encoding, width: int, seed: int = 0) -> HostTensor:
    """Random codes; the float16 scales are finite, or nothing could be compared."""
    rng = np.random.default_rng(seed)
    layout = BLOCK_LAYOUTS[encoding]
    num_blocks = ROWS * width // layout.block_size
    data = rng.integers(0, 256, num_blocks * layout.block_bytes, dtype=np.uint8)
    if encoding in BLOCK_DTYPES:
        blocks = data.view(BLOCK_DTYPES[encoding])
        for field in {"scale", "minimum"} & set(blocks.dtype.names):
            blocks[field] = rng.normal(0, 0.1, num_blocks).astype(np.float16)
    else:
        values = rng.normal(0, 1, ROWS * width).astype(np.float32)
        if encoding == "bf16":
            data = (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        else:
            data = values.astype({"f32": np.float32, "f16": np.float16}[encoding]).view(np.uint8)
    return HostTensor("w", (ROWS, width), encoding, data)


@pytest.mark.parametrize("encoding", BLOCK_LAYOUTS)
def test_equals_gguf_package(encoding: Encoding) -> None:
    tensor = random_tensor(encoding, 512)
    expected = oracle(tensor.data.reshape(ROWS, -1), GGMLQuantizationType[encoding.upper()])
    actual = dequantize(tensor)
    assert actual.shape == (ROWS, 512)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32))


@pytest.mark.parametrize("encoding", BLOCK_DTYPES)
def test_records_have_the_size_of_the_layout(encoding: Encoding) -> None:
    assert BLOCK_DTYPES[encoding].itemsize == BLOCK_LAYOUTS[encoding].block_bytes


@pytest.mark.parametrize("encoding", BLOCK_LAYOUTS)
def test_reads_unaligned_and_read_only_bytes(encoding: Encoding) -> None:
    tensor = random_tensor(encoding, 256)
    shifted = np.concatenate([np.zeros(1, np.uint8), tensor.data])[1:]
    shifted.flags.writeable = False
    np.testing.assert_array_equal(dequantize(HostTensor("w", tensor.shape, encoding, shifted)), dequantize(tensor))


def test_passes_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = random_tensor("q4_1", 512)
    whole = dequantize(tensor)
    monkeypatch.setattr(module, "BLOCKS_PER_PASS", 5)
    np.testing.assert_array_equal(dequantize(tensor), whole)


def test_vectors_and_scalars() -> None:
    vector = HostTensor("w", (3,), "f32", np.array([1, 2, 3], np.float32).view(np.uint8))
    np.testing.assert_array_equal(dequantize(vector), [1, 2, 3])
    scalar = HostTensor("w", (), "f16", np.array([1.5], np.float16).view(np.uint8))
    assert dequantize(scalar) == 1.5
