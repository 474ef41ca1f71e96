"""Random weights: whole, repeatable, and such that activations stay in bounds."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest

from inglenook.checkpoint.checkpoint import open_dummy
from inglenook.checkpoint.dummy import DUMMY_CONFIGS, DummyEncoding, DummyTensors, dummy_config, parse_dummy
from inglenook.errors import CheckpointError
from inglenook.ops.dequantize import dequantize
from inglenook.ops.program import Weight
from inglenook.ops.weights import BLOCK_LAYOUTS

ENCODINGS: tuple[DummyEncoding, ...] = get_args(DummyEncoding)


def weights_of(*weights: Weight) -> dict[str, Weight]:
    return {weight.name: weight for weight in weights}


WEIGHTS = weights_of(
    Weight("model.embed_tokens.weight", (700, 256)),
    Weight("q_proj.weight", (512, 256)),
    Weight("odd.weight", (64, 40)),
    Weight("input_layernorm.weight", (256,)),
    Weight("q_proj.bias", (512,)),
)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tensors_are_whole(encoding: DummyEncoding) -> None:
    checkpoint = open_dummy({"a": 1}, WEIGHTS, encoding)
    assert checkpoint.format == "dummy"
    assert checkpoint.config == {"a": 1}
    assert checkpoint.tensors.keys() == WEIGHTS.keys()
    for name, tensor in checkpoint.tensors.items():
        layout = BLOCK_LAYOUTS[tensor.encoding]
        assert (tensor.name, tensor.shape) == (name, WEIGHTS[name].shape)
        assert tensor.data.nbytes * layout.block_size == math.prod(tensor.shape) * layout.block_bytes
    assert checkpoint.total_bytes == sum(tensor.data.nbytes for tensor in checkpoint.tensors.values())
    assert checkpoint.tensors["q_proj.weight"].encoding == encoding
    assert checkpoint.tensors["input_layernorm.weight"].encoding == "f32"


def test_rows_that_are_not_whole_blocks_are_f32() -> None:
    assert DummyTensors(WEIGHTS, "q4_0")["odd.weight"].encoding == "f32"
    assert DummyTensors(WEIGHTS, "bf16")["odd.weight"].encoding == "bf16"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("width", [256, 2048])
def test_matrices_keep_activations_in_bounds(encoding: DummyEncoding, width: int) -> None:
    weights = weights_of(Weight("w", (1000, width)))
    matrix = dequantize(DummyTensors(weights, encoding)["w"])
    assert np.isfinite(matrix).all()
    assert matrix.std() * math.sqrt(width) == pytest.approx(1, abs=0.1)
    assert abs(matrix.mean()) * math.sqrt(width) < 0.01
    assert np.abs(matrix @ np.ones(width, np.float32)).max() < 8  # sums don't add up to one direction


def test_norms_are_ones_and_biases_zeros() -> None:
    tensors = DummyTensors(WEIGHTS)
    assert (dequantize(tensors["input_layernorm.weight"]) == 1).all()
    assert (dequantize(tensors["q_proj.bias"]) == 0).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_seed_decides(encoding: DummyEncoding) -> None:
    first, again, other = (DummyTensors(WEIGHTS, encoding, seed)["q_proj.weight"].data for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_order_of_asking_does_not_matter() -> None:
    forwards, backwards = DummyTensors(WEIGHTS), DummyTensors(WEIGHTS)
    expected = {name: forwards[name].data for name in WEIGHTS}
    for name in reversed(WEIGHTS):
        np.testing.assert_array_equal(backwards[name].data, expected[name])


def test_rows_and_matrices_differ() -> None:
    # Equal rows would tie the logits of different tokens
    weights = weights_of(Weight("embed", (4096, 64)), Weight("head", (4096, 64)))
    tensors = DummyTensors(weights, "q4_0")
    rows = dequantize(tensors["embed"])
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert not np.array_equal(tensors["embed"].data, tensors["head"].data)


def test_close_lets_go() -> None:
    checkpoint = open_dummy({}, WEIGHTS)
    data = checkpoint.tensors["q_proj.weight"].data
    checkpoint.close()
    assert not checkpoint.tensors
    assert data.sum() > 0


def test_named_shapes() -> None:
    shape = dummy_config("1b")
    layer = sum(
        rows * columns
        for rows, columns in itertools.chain(
            [(2048, 2048)] * 2, [(2048 // 32 * shape["num_key_value_heads"], 2048)] * 2, [(8192, 2048)] * 3
        )
    )
    assert shape["num_hidden_layers"] * layer + shape["vocab_size"] * shape["hidden_size"] == pytest.approx(
        1.07e9, rel=0.01
    )
    assert dummy_config("tiny") is not DUMMY_CONFIGS["tiny"]
    with pytest.raises(CheckpointError, match=r"'2b'.*1b, 135m, tiny"):
        dummy_config("2b")


def test_names_carry_shape_and_encoding() -> None:
    assert parse_dummy("1b") == ("1b", None)
    assert parse_dummy("1b-q5_k") == ("1b", "q5_k")
    with pytest.raises(CheckpointError, match=r"'q3'.*q4_0, q8_0"):
        parse_dummy("1b-q3")
