"""Our decoder against the gguf package's, bit for bit, on random blocks."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize as oracle

from fixtures.weight_files import ALL_ENCODINGS, random_tensor
from inglenook.ops import dequantize as module
from inglenook.ops.dequantize import BLOCK_DTYPES, dequantize
from inglenook.ops.weights import BLOCK_LAYOUTS, Encoding, HostTensor

SHAPE = (7, 512)


@pytest.mark.parametrize("encoding", ALL_ENCODINGS)
def test_equals_gguf_package(encoding: Encoding) -> None:
    tensor = random_tensor(encoding, SHAPE)
    expected = oracle(tensor.data.reshape(SHAPE[0], -1), GGMLQuantizationType[encoding.upper()])
    actual = dequantize(tensor)
    assert actual.shape == SHAPE
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32))


@pytest.mark.parametrize("encoding", BLOCK_DTYPES)
def test_records_have_the_size_of_the_layout(encoding: Encoding) -> None:
    assert BLOCK_DTYPES[encoding].itemsize == BLOCK_LAYOUTS[encoding].block_bytes


@pytest.mark.parametrize("encoding", ALL_ENCODINGS)
def test_reads_unaligned_and_read_only_bytes(encoding: Encoding) -> None:
    tensor = random_tensor(encoding, SHAPE)
    shifted = np.concatenate([np.zeros(1, np.uint8), tensor.data])[1:]
    shifted.flags.writeable = False
    np.testing.assert_array_equal(dequantize(HostTensor("w", SHAPE, encoding, shifted)), dequantize(tensor))


def test_passes_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = random_tensor("q4_1", SHAPE)
    whole = dequantize(tensor)
    monkeypatch.setattr(module, "BLOCKS_PER_PASS", 5)
    np.testing.assert_array_equal(dequantize(tensor), whole)


def test_vectors_and_scalars() -> None:
    vector = HostTensor("w", (3,), "f32", np.array([1, 2, 3], np.float32).view(np.uint8))
    np.testing.assert_array_equal(dequantize(vector), [1, 2, 3])
    scalar = HostTensor("w", (), "f16", np.array([1.5], np.float16).view(np.uint8))
    assert dequantize(scalar) == 1.5
