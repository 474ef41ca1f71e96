"""The safetensors reader against the library that defines the format, and against damage of every kind."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fixtures.weight_files import safetensors_bytes
from inglenook.checkpoint.safetensors import INDEX_NAME, SINGLE_NAME, read_safetensors, read_safetensors_file
from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.ops.dequantize import dequantize
from inglenook.ops.weights import HostTensor

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def entry(begin: int, end: int, *, dtype: str = "F32", shape: Any = (2,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SOUND = safetensors_bytes(
    {"__metadata__": {"format": "pt"}, "a": entry(0, 8), "b": entry(8, 20, dtype="BF16", shape=[2, 3])},
    bytes(range(20)),
)


def read_bytes(folder: Path, content: bytes) -> dict[str, HostTensor]:
    path = folder / SINGLE_NAME
    path.write_bytes(content)
    return read_safetensors_file(path)


def write_shards(folder: Path, shards: dict[str, dict[str, torch.Tensor]], weight_map: Any = None) -> None:
    for file_name, tensors in shards.items():
        save_file(tensors, folder / file_name)
    if weight_map is None:
        weight_map = {name: file_name for file_name, tensors in shards.items() for name in tensors}
    (folder / INDEX_NAME).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def test_values_in_all_dtypes(tmp_path: Path) -> None:
    values = {f"m.{name}": torch.randn(3, 5).to(dtype) for name, dtype in DTYPES.items()}
    values |= {"scalar": torch.tensor(2.5), "vector": torch.randn(7), "four": torch.randn(2, 3, 4, 5)}
    save_file(values, tmp_path / SINGLE_NAME, metadata={"format": "pt"})
    read = read_safetensors(tmp_path)
    assert read.keys() == values.keys()
    for name, expected in values.items():
        assert read[name].name == name
        assert read[name].shape == tuple(expected.shape)
        assert DTYPES[read[name].encoding] == expected.dtype
        assert not read[name].data.flags.writeable
        np.testing.assert_array_equal(dequantize(read[name]), expected.float().numpy())


def test_empty_tensors(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "none": torch.ones(0, 3)}, tmp_path / SINGLE_NAME)
    assert dequantize(read_safetensors(tmp_path)["none"]).shape == (0, 3)


def test_a_single_file_of_any_name(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "weights.safetensors")
    assert list(read_safetensors(tmp_path)) == ["w"]


def test_shards(tmp_path: Path) -> None:
    write_shards(tmp_path, {"x-1.safetensors": {"a": torch.ones(2)}, "x-2.safetensors": {"b": torch.zeros(3)}})
    read = read_safetensors(tmp_path)
    assert {name: tensor.shape for name, tensor in read.items()} == {"a": (2,), "b": (3,)}


def test_shards_without_index(tmp_path: Path) -> None:
    for number in (1, 2):
        save_file({"w": torch.ones(2)}, tmp_path / f"x-{number}.safetensors")
    with pytest.raises(CheckpointError, match=r"'x-1\.safetensors', 'x-2\.safetensors'.*index"):
        read_safetensors(tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        (["a"], "no weight_map"),
        ({"a": 1}, "no weight_map"),
        ({"a": "x.safetensors", "b": "y.safetensors"}, r"1 of 2 files .*: 'y\.safetensors'"),
        ({"a": "\ud800" * 5000 + ".safetensors"}, r"1 of 1 files .*: '\\ud800"),
        ({"a": "../x.safetensors"}, "isn't a .safetensors file of its folder"),
        ({"a": "x.safetensors", "b": "x.safetensors"}, "lacks tensors.*: 'b'"),
        ({"c": "x.safetensors"}, "lacks tensors.*: 'c'"),
        ({}, "no weight_map"),
    ],
)
def test_index_that_does_not_fit(tmp_path: Path, weight_map: Any, words: str) -> None:
    write_shards(tmp_path, {"x.safetensors": {"a": torch.ones(2)}}, weight_map)
    with pytest.raises(CheckpointError, match=words):
        read_safetensors(tmp_path)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    shards = {"x.safetensors": {"a": torch.ones(2)}, "y.safetensors": {"a": torch.ones(2), "b": torch.ones(2)}}
    write_shards(tmp_path, shards, {"a": "x.safetensors", "b": "y.safetensors"})
    with pytest.raises(CheckpointError, match=r"y\.safetensors holds tensors that the index doesn't put there: 'a'"):
        read_safetensors(tmp_path)


# --- damage -------------------------------------------------------------------------------------------------------

DAMAGED = {
    "seven bytes": (bytes(7), "has 7 bytes"),
    "long header": (struct.pack("<Q", 100_000_001) + b"{}", "at most 100,000,000"),
    "empty header": (safetensors_bytes(""), "isn't valid JSON"),
    "list": (safetensors_bytes("[]"), "must hold an object"),
    "not JSON": (safetensors_bytes("{"), "isn't valid JSON"),
    "deep": (safetensors_bytes("[" * 100_000), "isn't valid JSON"),
    "name twice": (safetensors_bytes('{"a": {}, "a": {}}'), "'a' is there twice"),
    "not an object": (safetensors_bytes({"a": 1}), "isn't described"),
    "no dtype": (safetensors_bytes({"a": {"shape": [], "data_offsets": [0, 0]}}), "no dtype"),
    "negative": (safetensors_bytes({"a": entry(0, 8, shape=[-2])}, bytes(8)), "no usable shape"),
    "fraction": (safetensors_bytes({"a": entry(0, 8, shape=[2.0])}, bytes(8)), "no usable shape"),
    "truth": (safetensors_bytes({"a": entry(0, 4, shape=[True])}, bytes(4)), "no usable shape"),
    "nine dimensions": (safetensors_bytes({"a": entry(0, 4, shape=[1] * 9)}, bytes(4)), "no usable shape"),
    "backwards": (safetensors_bytes({"a": entry(8, 0)}, bytes(8)), "no usable data_offsets"),
    "one offset": (safetensors_bytes({"a": {**entry(0, 8), "data_offsets": [0]}}, bytes(8)), "no usable data_offsets"),
    "size": (safetensors_bytes({"a": entry(0, 8, shape=[3])}, bytes(8)), "takes 8 bytes instead of 12"),
    "gap": (safetensors_bytes({"a": entry(0, 8), "b": entry(16, 24)}, bytes(24)), "begins at byte 16 of the data"),
    "overlap": (safetensors_bytes({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "begins at byte 4 of the data"),
    "data short": (safetensors_bytes({"a": entry(0, 8)}, bytes(7)), "cut short: 1 of 8 bytes"),
    "data long": (safetensors_bytes({"a": entry(0, 8)}, bytes(9)), "1 bytes behind"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    content, words = DAMAGED[case]
    with pytest.raises(CheckpointError, match=words):
        read_bytes(tmp_path, content)


def test_unsupported_dtypes_are_named_unless_ignored(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "rotary_emb.inv_freq": torch.ones(2).double()}, tmp_path / SINGLE_NAME)
    assert list(read_safetensors(tmp_path)) == ["a"]
    save_file({"codes": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / SINGLE_NAME)
    with pytest.raises(UnsupportedModelError, match=r"'codes' is stored as 'F8_E4M3'.*F32, F16, BF16"):
        read_safetensors(tmp_path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    assert list(read_bytes(tmp_path, SOUND)) == ["a", "b"]
    for length in range(len(SOUND)):
        with pytest.raises(CheckpointError):
            read_bytes(tmp_path, SOUND[:length])


HUGE = 2**60
HUGE_CLAIMS = {
    "header": struct.pack("<Q", HUGE) + b"{}",
    "largest header": struct.pack("<Q", 100_000_000) + b"{}",
    "shape": safetensors_bytes({"a": entry(0, 8, shape=[HUGE])}, bytes(8)),
    "product": safetensors_bytes({"a": entry(0, 8, shape=[2**47] * 8)}, bytes(8)),
    "offset": safetensors_bytes({"a": entry(0, HUGE, shape=[2**48])}, bytes(8)),
    "digits": safetensors_bytes('{"a": {"dtype": "F32", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 8]}}'),
}


@pytest.mark.parametrize("case", HUGE_CLAIMS)
def test_huge_claims_take_no_memory(tmp_path: Path, case: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_bytes(tmp_path, HUGE_CLAIMS[case])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_an_error_or_a_sound_model(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(SOUND)
    for position, value in flips:
        content[position] = value
    try:
        tensors = read_bytes(tmp_path_factory.getbasetemp(), bytes(content))
    except CheckpointError:
        return
    for tensor in tensors.values():
        assert dequantize(tensor).shape == tensor.shape
