"""Linear layers with quantised weights: every instruction set against numpy, and the same bits for a row whatever
the other rows are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.weight_files import random_tensor
from inglenook.ops import _native
from inglenook.ops.native import available_isas
from inglenook.ops.quantize import pack_matrix
from inglenook.ops.weights import OWN_FORMATS, Encoding, HostTensor

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
ISAS = available_isas()
ENCODINGS: tuple[Encoding, ...] = ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k")


def packed(encoding: Encoding, shape: tuple[int, int]) -> _native.PackedWeight:
    return pack_matrix(_native.WeightStore(1), random_tensor(encoding, shape), OWN_FORMATS[encoding])


def random_rows(num_rows: int, width: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((num_rows, width)) * np.exp(rng.standard_normal((num_rows, 1)))
    return rows.astype(np.float32)


def rounded_activations(x: Floats) -> Doubles:
    """What 8-bit activations stand for: groups of 32, scale = largest magnitude / 127."""
    groups = x.reshape(len(x), -1, 32)
    largest = np.abs(groups).max(axis=2, keepdims=True)
    factor = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    codes = np.rint(groups * factor)
    return (codes.astype(np.float64) * (largest / np.float32(127))).reshape(x.shape)


def assert_close_to_reference(y: Floats, weight: Doubles, x: Floats) -> None:
    activations = rounded_activations(x)
    magnitude = np.abs(activations) @ np.abs(weight).T
    error = np.abs(y - activations @ weight.T)
    assert (error <= 2e-6 * magnitude + 1e-30).all(), (error / magnitude).max()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 5, 8, 11, 12, 13, 40, 100])
def test_equals_reference(encoding: Encoding, num_rows: int, isa: str) -> None:
    weight = packed(encoding, (53, 768))
    x = random_rows(num_rows, 768)
    assert_close_to_reference(weight.linear(x, isa=isa), weight.unpack().astype(np.float64), x)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_row_is_the_same_in_any_company(encoding: Encoding, isa: str) -> None:
    weight = packed(encoding, (40, 1280))
    x = random_rows(130, 1280)
    alone = np.concatenate([weight.linear(x[i : i + 1], isa=isa) for i in range(len(x))])
    for num_rows in (*range(2, 41), 97, 130):
        np.testing.assert_array_equal(weight.linear(x[:num_rows], isa=isa), alone[:num_rows])
    np.testing.assert_array_equal(weight.linear(x[::-1].copy(), isa=isa)[::-1], alone)


@given(
    encoding=st.sampled_from(ENCODINGS),
    isa=st.sampled_from(ISAS),
    out_features=st.integers(1, 50),
    num_blocks=st.integers(1, 3),
    num_rows=st.integers(1, 40),
    has_bias=st.booleans(),
    accumulates=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_any_shape_with_bias_and_residual(
    encoding: Encoding,
    isa: str,
    out_features: int,
    num_blocks: int,
    num_rows: int,
    has_bias: bool,
    accumulates: bool,
    seed: int,
) -> None:
    weight = packed(encoding, (out_features, 256 * num_blocks))
    x = random_rows(num_rows, 256 * num_blocks, seed)
    bias = random_rows(1, out_features, seed + 1)[0] if has_bias else None
    y = random_rows(num_rows, out_features, seed + 2) if accumulates else None
    plain = weight.linear(x, isa=isa)
    expected = plain + bias if bias is not None else plain
    expected = y + expected if y is not None else expected
    np.testing.assert_array_equal(weight.linear(x, bias, y, isa=isa), expected)
    np.testing.assert_array_equal(weight.linear(x[-1:], isa=isa)[0], plain[-1])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_largest_codes_do_not_overflow(encoding: Encoding, isa: str, sign: float) -> None:
    """Every activation at +-127 and, with q8_0, every weight at -128 or 127."""
    tensor = random_tensor(encoding, (32, 256))
    if encoding == "q8_0":
        blocks = tensor.data.reshape(-1, 34).copy()
        blocks[:, 2:] = np.where(np.arange(len(blocks)) % 2, 0x80, 0x7F)[:, None]
        tensor = HostTensor("w", tensor.shape, encoding, blocks.reshape(-1))
    weight = pack_matrix(_native.WeightStore(1), tensor, OWN_FORMATS[encoding])
    for x in (np.full((5, 256), sign, np.float32), np.sign(random_rows(5, 256)) * np.float32(sign)):
        assert_close_to_reference(weight.linear(x, isa=isa), weight.unpack().astype(np.float64), x)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("encoding", ["q4_1", "q6_k"])
def test_wide_rows_come_in_pieces(encoding: Encoding, isa: str) -> None:
    weight = packed(encoding, (20, 17 * 1024))
    x = random_rows(14, 17 * 1024)
    few = weight.linear(x[:3], isa=isa)
    assert_close_to_reference(few, weight.unpack().astype(np.float64), x[:3])
    np.testing.assert_array_equal(weight.linear(x, isa=isa)[:3], few)


@pytest.mark.parametrize("isa", ISAS)
def test_zero_and_tiny_rows(isa: str) -> None:
    weight = packed("q4_1", (16, 256))
    x = np.zeros((3, 256), np.float32)
    x[1] = 1e-38
    x[2, ::2] = 1e-25
    y = weight.linear(x, isa=isa)
    np.testing.assert_array_equal(y[:2], 0)
    assert_close_to_reference(y[2:], weight.unpack().astype(np.float64), x[2:])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 21, 255])
def test_not_a_number_is_not_hidden(value: float, column: int, isa: str) -> None:
    weight = packed("q8_0", (24, 256))
    x = random_rows(6, 256)
    expected = weight.linear(x, isa=isa)
    x[4, column] = value
    y = weight.linear(x, isa=isa)
    assert np.isnan(y[4]).all()
    np.testing.assert_array_equal(np.delete(y, 4, 0), np.delete(expected, 4, 0))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_instruction_sets_agree(encoding: Encoding) -> None:
    weight = packed(encoding, (64, 512))
    x = random_rows(9, 512)
    results = [weight.linear(x, isa=isa) for isa in ISAS]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-5, atol=1e-5 * np.abs(results[0]).max())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_embedding_row_is_the_unpacked_row(encoding: Encoding, isa: str) -> None:
    weight = packed(encoding, (37, 256))
    table = weight.unpack()
    for index in (0, 15, 16, 36):
        np.testing.assert_array_equal(weight.embed_row(index, isa), table[index])
