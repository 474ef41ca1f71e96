"""Packed weights hold what the checkpoint holds, take the bytes that are planned, and quantise well."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize as gguf_dequantize
from gguf.quants import quantize as gguf_quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.weight_files import ALL_ENCODINGS, random_tensor
from inglenook.errors import CheckpointError
from inglenook.ops import _native
from inglenook.ops.dequantize import dequantize
from inglenook.ops.quantize import pack_matrix
from inglenook.ops.weights import (
    FLOAT_FORMATS,
    OWN_FORMATS,
    Encoding,
    HostTensor,
    WeightFormat,
    is_float_encoding,
    packed_nbytes,
    storage_format,
)

Floats = npt.NDArray[np.float32]
QUANTIZED = tuple(encoding for encoding in ALL_ENCODINGS if not is_float_encoding(encoding))


def f32_tensor(values: npt.ArrayLike) -> HostTensor:
    array = np.ascontiguousarray(values, np.float32)
    return HostTensor("w", array.shape, "f32", array.reshape(-1).view(np.uint8))


def repacked(tensor: HostTensor, format: WeightFormat, threads: int = 2) -> Floats:
    return pack_matrix(_native.WeightStore(threads), tensor, format).unpack()


def bits(values: Floats) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(values).view(np.uint32)


@pytest.mark.parametrize("shape", [(1, 256), (16, 512), (37, 768)])
@pytest.mark.parametrize("encoding", ALL_ENCODINGS)
def test_own_format_is_exact(encoding: Encoding, shape: tuple[int, int]) -> None:
    tensor = random_tensor(encoding, shape)
    np.testing.assert_array_equal(bits(repacked(tensor, OWN_FORMATS[encoding])), bits(dequantize(tensor)))


def test_every_scale_of_a_checkpoint_survives() -> None:
    """All 16-bit patterns of a scale and a minimum: subnormal, negative, infinite, NaN."""
    halves = np.arange(65536, dtype=np.uint16)
    blocks = np.zeros((65536, 20), np.uint8)
    blocks[:, 0:2] = halves[:, None].view(np.uint8)
    blocks[:, 2:4] = halves[::-1, None].copy().view(np.uint8)
    blocks[:, 4:] = 0x21
    tensor = HostTensor("w", (512, 4096), "q4_1", blocks.reshape(-1))
    with np.errstate(invalid="ignore"):
        expected = dequantize(tensor)
    np.testing.assert_array_equal(repacked(tensor, "q4"), expected)


@pytest.mark.parametrize("width", [1, 7, 96, 255, 256, 257, 600])
@pytest.mark.parametrize("encoding", ["f32", "f16", "bf16"])
def test_floats_of_any_width(encoding: Encoding, width: int) -> None:
    tensor = random_tensor(encoding, (19, width))
    np.testing.assert_array_equal(repacked(tensor, OWN_FORMATS[encoding]), dequantize(tensor))
    np.testing.assert_array_equal(repacked(tensor, "f32"), dequantize(tensor))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_float_formats_round_as_torch_does(patterns: list[int]) -> None:
    values = np.array(patterns, np.uint32).view(np.float32)[None]
    expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(repacked(f32_tensor(values), "bf16"), expected)
    with np.errstate(over="ignore", invalid="ignore"):
        halves = values.astype(np.float16).astype(np.float32)
    if np.isinf(halves[np.isfinite(values)]).any():
        with pytest.raises(CheckpointError, match="too large for float16"):
            repacked(f32_tensor(values), "f16")
    else:
        np.testing.assert_array_equal(repacked(f32_tensor(values), "f16"), halves)


def test_all_halves_widen_exactly() -> None:
    halves = np.arange(65536, dtype=np.uint16).reshape(64, 1024)
    tensor = HostTensor("w", halves.shape, "f16", halves.reshape(-1).view(np.uint8))
    np.testing.assert_array_equal(repacked(tensor, "f32"), halves.view(np.float16).astype(np.float32))


@pytest.mark.parametrize("encoding", ["f32", "f16", "bf16"])
def test_q8_is_within_half_a_step(encoding: Encoding) -> None:
    tensor = random_tensor(encoding, (33, 320))
    values = dequantize(tensor)
    groups = np.abs(values.reshape(33, 10, 32)).max(axis=2, keepdims=True)
    error = np.abs(repacked(tensor, "q8") - values).reshape(33, 10, 32)
    assert (error <= groups / 127 * 0.502).all()  # the scale is rounded to 16 bits


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_q4_beats_plain_rounding(shift: float) -> None:
    values = (np.random.default_rng(5).standard_normal((64, 1024)) + shift).astype(np.float32)
    ours = np.square(repacked(f32_tensor(values), "q4") - values).mean()
    q4_1 = GGMLQuantizationType.Q4_1
    plain = np.square(gguf_dequantize(gguf_quantize(values, q4_1), q4_1) - values).mean()
    assert ours < 0.93 * plain


@pytest.mark.parametrize("format", ["q8", "q4"])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 2.0**-14])
def test_constant_weights_stay_as_they_are(format: WeightFormat, value: float) -> None:
    values = np.full((3, 64), value, np.float32)
    np.testing.assert_allclose(repacked(f32_tensor(values), format), values, rtol=1e-3 if abs(value) > 0.01 else 5e-3)


@pytest.mark.parametrize("format", ["q8", "q4"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_cannot_be_quantized_is_an_error(format: WeightFormat, value: float) -> None:
    values = np.ones((20, 64), np.float32)
    values[17, 40] = value
    with pytest.raises(CheckpointError, match="The weight w can't be packed"):
        repacked(f32_tensor(values), format)


@pytest.mark.parametrize(
    ("encoding", "format"), [("q4_0", "q8"), ("q8_0", "q4"), ("q6_k", "q5"), ("f32", "q5"), ("bf16", "q6")]
)
def test_nothing_is_requantized(encoding: Encoding, format: WeightFormat) -> None:
    with pytest.raises(CheckpointError, match="can't be kept in"):
        repacked(random_tensor(encoding, (16, 256)), format)


def test_sizes_are_checked() -> None:
    tensor = random_tensor("q8_0", (16, 64))
    with pytest.raises(CheckpointError, match="takes 1088 bytes; there are 1087"):
        repacked(HostTensor("w", (16, 64), "q8_0", tensor.data[:-1]), "q8")
    with pytest.raises(CheckpointError, match="groups of 32"):
        repacked(random_tensor("f32", (16, 48)), "q8")
    with pytest.raises(CheckpointError):
        repacked(HostTensor("w", (0, 32), "f32", np.empty(0, np.uint8)), "f32")


@given(
    encoding=st.sampled_from(ALL_ENCODINGS),
    rows=st.integers(1, 70),
    blocks=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_planned_bytes_are_taken(encoding: Encoding, rows: int, blocks: int, data: st.DataObject) -> None:
    formats: list[WeightFormat] = [OWN_FORMATS[encoding]]
    width = blocks * (96 if is_float_encoding(encoding) else 256)
    if is_float_encoding(encoding):
        formats += ["f32", "bf16", "f16", "q8", "q4"]
        width += data.draw(st.sampled_from([0, 1]))
    format = data.draw(st.sampled_from(formats))
    if format in ("q8", "q4"):
        width -= width % 32
    store = _native.WeightStore(1)
    weight = pack_matrix(store, random_tensor(encoding, (rows, width)), format)
    assert weight.nbytes == store.nbytes == packed_nbytes((rows, width), encoding, format)
    assert weight.shape == (rows, width)
    assert weight.format == format


def test_store_outlives_its_name_and_spans_mappings() -> None:
    store = _native.WeightStore(2)
    values = np.random.default_rng(1).standard_normal((4096, 2100)).astype(np.float32)
    weights = [pack_matrix(store, f32_tensor(values + i), "f32") for i in range(3)]
    assert store.nbytes == 3 * packed_nbytes(values.shape, "f32", "f32")
    del store
    for i, weight in enumerate(weights):
        np.testing.assert_array_equal(weight.unpack(), values + i)


def test_threads_change_nothing() -> None:
    tensor = f32_tensor(np.random.default_rng(2).standard_normal((999, 256)))
    np.testing.assert_array_equal(repacked(tensor, "q4", threads=1), repacked(tensor, "q4", threads=5))


@pytest.mark.parametrize("encoding", QUANTIZED)
def test_storage_format_keeps_quantized_encodings(encoding: Encoding) -> None:
    tensor = random_tensor(encoding, (16, 256))
    assert storage_format(tensor, "bfloat16", "q8") == OWN_FORMATS[encoding]


def test_storage_format_of_floats() -> None:
    matrix = random_tensor("bf16", (16, 64))
    assert storage_format(matrix) == "bf16"
    for dtype, format in FLOAT_FORMATS.items():
        assert storage_format(matrix, dtype) == format
    assert storage_format(matrix, "float32", "q4") == "q4"
    assert storage_format(random_tensor("bf16", (16, 48)), "auto", "q4") == "bf16"
    assert storage_format(random_tensor("bf16", (16, 48)), "float32", "q8") == "f32"
    assert storage_format(HostTensor("norm", (64,), "bf16", matrix.data[:128]), "float16", "q8") == "f32"
