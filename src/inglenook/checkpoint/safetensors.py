"""Opens safetensors models, in one file or sharded with an index, as views into memory maps.

The format (https://github.com/huggingface/safetensors): 8 bytes, the header's length N; N bytes of JSON; the data,
which the tensors fill without gaps. Read here because the library can't hand bfloat16 to numpy without a copy.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from inglenook.checkpoint.files import MAX_JSON_BYTES, list_names, map_file, parse_json_object, quoted, read_json_object
from inglenook.checkpoint.names import is_ignored
from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.ops.weights import BLOCK_LAYOUTS, Encoding, HostTensor

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"

MAX_DIMENSIONS = 8
MAX_DIMENSION = 2**48  # with MAX_DIMENSIONS it keeps products of claimed shapes small

_ENCODINGS: dict[str, Encoding] = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


def read_safetensors(folder: Path) -> dict[str, HostTensor]:
    """All tensors of the model in a folder, by name. Raises CheckpointError."""
    if (folder / SINGLE_NAME).is_file():
        return read_safetensors_file(folder / SINGLE_NAME)
    if (folder / INDEX_NAME).is_file():
        return _read_sharded(folder)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return read_safetensors_file(files[0])
    if not files:
        raise CheckpointError("The folder holds no .safetensors file. Fetch the model again.")
    raise CheckpointError(
        f"The folder holds {len(files)} .safetensors files ({list_names([file.name for file in files])}) but no "
        f"{INDEX_NAME} that says which tensor is in which. Fetch the model again."
    )


def read_safetensors_file(path: Path) -> dict[str, HostTensor]:
    """The tensors of one file, by name. Raises CheckpointError."""
    data = map_file(path)
    header, data_start = _read_header(data, path.name)
    entries = [_Entry(name, value, path.name) for name, value in header.items() if name != "__metadata__"]
    _check_placement(entries, len(data) - data_start, path.name)
    tensors = {}
    for entry in entries:
        if entry.dtype in _ENCODINGS:
            encoding = _ENCODINGS[entry.dtype]
            entry.check_size(BLOCK_LAYOUTS[encoding].block_bytes)
            view = np.frombuffer(data, np.uint8, entry.end - entry.begin, data_start + entry.begin)
            tensors[entry.name] = HostTensor(entry.name, entry.shape, encoding, view)
        elif not is_ignored(entry.name):
            raise UnsupportedModelError(
                f"{path.name}: tensor {quoted(entry.name)} is stored as {quoted(entry.dtype)}; supported are "
                f"{', '.join(_ENCODINGS)}. Get the model in one of these formats, or as GGUF."
            )
    return tensors


def _read_header(data: mmap.mmap, file_name: str) -> tuple[dict[str, Any], int]:
    if len(data) < 8:
        raise CheckpointError(f"{file_name} is cut short: it has {len(data)} bytes. Fetch it again.")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{file_name} isn't a safetensors file, or is damaged: its header would be {length:,} bytes long; "
            f"at most {MAX_JSON_BYTES:,} are allowed."
        )
    if 8 + length > len(data):
        raise CheckpointError(
            f"{file_name} is cut short: its header takes {length:,} bytes, and {len(data) - 8:,} are there. "
            "Fetch it again."
        )
    return parse_json_object(data[8 : 8 + length], f"The header of {file_name}"), 8 + length


class _Entry:
    """What the header says of one tensor, with the types checked."""

    def __init__(self, name: str, value: Any, file_name: str) -> None:
        self.name = name
        self.file_name = file_name
        if not isinstance(value, dict):
            raise self.damaged("isn't described by an object")
        dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
        if not isinstance(dtype, str):
            raise self.damaged("has no dtype")
        if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS or any(size > MAX_DIMENSION for size in shape):
            raise self.damaged("has no usable shape")
        if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise self.damaged("has no usable data_offsets")
        self.dtype: str = dtype
        self.shape: tuple[int, ...] = tuple(shape)
        self.begin: int = offsets[0]
        self.end: int = offsets[1]

    def check_size(self, value_bytes: int) -> None:
        expected = math.prod(self.shape) * value_bytes
        if self.end - self.begin != expected:
            raise self.damaged(f"takes {self.end - self.begin:,} bytes instead of {expected:,}")

    def damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.file_name} is damaged: tensor {quoted(self.name)} {reason}. Fetch it again.")


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_placement(entries: list[_Entry], data_size: int, file_name: str) -> None:
    """The tensors fill the data from its first byte to its last, none over another."""
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != end:
            raise entry.damaged(f"begins at byte {entry.begin:,} of the data instead of {end:,}")
        end = entry.end
    if end > data_size:
        raise CheckpointError(
            f"{file_name} is cut short: {end - data_size:,} of {end:,} bytes of data are missing. Fetch it again."
        )
    if end < data_size:
        raise CheckpointError(
            f"{file_name} is damaged: {data_size - end:,} bytes behind its last tensor belong to none. Fetch it again."
        )


def _read_sharded(folder: Path) -> dict[str, HostTensor]:
    weight_map = read_json_object(folder / INDEX_NAME).get("weight_map")
    is_map = isinstance(weight_map, dict) and all(isinstance(shard, str) for shard in weight_map.values())
    if not weight_map or not is_map:
        raise CheckpointError(f"{INDEX_NAME} has no weight_map from tensors to files. Fetch it again.")
    shards = sorted(set(weight_map.values()))
    for shard in shards:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(f"{INDEX_NAME} names {quoted(shard)}, which isn't a .safetensors file of its folder.")
    there = {entry.name for entry in folder.iterdir()}
    absent = [shard for shard in shards if shard not in there]
    if absent:
        raise CheckpointError(
            f"{len(absent)} of {len(shards)} files of the model aren't there: {list_names(absent)}. "
            "Fetch them into the same folder."
        )
    tensors: dict[str, HostTensor] = {}
    for shard in shards:
        found = read_safetensors_file(folder / shard)
        _check_shard(shard, found, weight_map)
        tensors.update(found)
    return tensors


def _check_shard(shard: str, found: dict[str, HostTensor], weight_map: dict[str, str]) -> None:
    missing = [name for name, where in weight_map.items() if where == shard and name not in found]
    missing = [name for name in missing if not is_ignored(name)]
    if missing:
        raise CheckpointError(
            f"{shard} lacks tensors that the index puts there: {list_names(missing)}. Fetch it again."
        )
    misplaced = [name for name in found if weight_map.get(name) != shard]
    if misplaced:
        raise CheckpointError(
            f"{shard} holds tensors that the index doesn't put there: {list_names(misplaced)}. Fetch the model again."
        )
