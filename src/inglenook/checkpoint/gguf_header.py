"""Reads the header of a GGUF file, version 2 or 3, little-endian (format: docs/gguf.md in ggml's repository).

Nothing that a file claims is believed: every count, length and type is checked against what is left of the file
before memory is taken for it.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from inglenook.checkpoint.files import quoted
from inglenook.errors import CheckpointError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
MAX_KEY_BYTES = 65535

# Value types. Formats are struct's, and numpy's for arrays.
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MIN_ENTRY_BYTES = 8 + 4 + 1  # a key's length, a type, a one-byte value
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # a name's length, one dimension, type, offset


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the header describes it. `shape` is row-major, the reverse of the file's order."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int  # from the start of the data


@dataclass(frozen=True)
class Header:
    """Strings of metadata are str, arrays are lists of str or copied numpy arrays."""

    metadata: dict[str, Any]
    tensors: list[TensorInfo]
    data_start: int


class _Reader:
    """A place in a mapped file; each read is checked and moves it on."""

    def __init__(self, data: mmap.mmap, file_name: str) -> None:
        self.data = data
        self.file_name = file_name
        self.size = len(data)
        self.position = 0

    def number(self, layout: struct.Struct, what: str) -> Any:
        start = self.claim(layout.size, what)
        return layout.unpack_from(self.data, start)[0]

    def string(self, what: str) -> str:
        length: int = self.number(_U64, what)
        start = self.claim(length, what)
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError:
            raise self.damaged(f"{what} isn't UTF-8") from None

    def claim(self, num_bytes: int, what: str) -> int:
        """Move past the next bytes, which must be there; returns where they start."""
        start = self.position
        self.require(num_bytes, what)
        self.position = start + num_bytes
        return start

    def require(self, num_bytes: int, what: str) -> None:
        if num_bytes > self.size - self.position:
            raise self.damaged(f"{what} needs {num_bytes:,} bytes where {self.size - self.position:,} are left")

    def damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.file_name} is cut short or damaged: {reason}. Fetch it again.")


def read_header(data: mmap.mmap, file_name: str) -> Header:
    """Parse and check the header. Raises CheckpointError."""
    reader = _Reader(data, file_name)
    num_tensors, num_entries = _read_preamble(reader)
    metadata = _read_metadata(reader, num_entries)
    tensors = _read_tensor_infos(reader, num_tensors)
    alignment = _alignment(metadata, file_name)
    data_start = -(-reader.position // alignment) * alignment
    for tensor in tensors:
        if tensor.offset % alignment:
            raise reader.damaged(f"the offset of tensor {quoted(tensor.name)} isn't a multiple of {alignment}")
    return Header(metadata, tensors, data_start)


def _read_preamble(reader: _Reader) -> tuple[int, int]:
    magic = reader.data[:4]
    if magic != MAGIC:
        raise CheckpointError(f"{reader.file_name} isn't a GGUF file: it begins with {magic!r} instead of {MAGIC!r}.")
    reader.position = 4
    version: int = reader.number(_U32, "the version")
    if version not in VERSIONS:
        big_endian = version & 0xFFFF == 0 and version != 0
        found = "written for big-endian machines" if big_endian else f"GGUF version {version}"
        raise CheckpointError(
            f"{reader.file_name} is {found}; versions 2 and 3, little-endian, can be read. Convert it again."
        )
    num_tensors: int = reader.number(_U64, "the number of tensors")
    num_entries: int = reader.number(_U64, "the number of metadata entries")
    reader.require(num_entries * _MIN_ENTRY_BYTES, f"{num_entries:,} metadata entries")
    reader.require(num_tensors * _MIN_TENSOR_BYTES, f"{num_tensors:,} tensors")
    return num_tensors, num_entries


def _read_metadata(reader: _Reader, num_entries: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for index in range(num_entries):
        key = reader.string(f"metadata key {index}")
        if not key or len(key) > MAX_KEY_BYTES:
            raise reader.damaged(f"metadata key {index} is {len(key):,} characters long")
        what = quoted(key)
        if key in metadata:
            raise reader.damaged(f"the metadata key {what} is there twice")
        type_id: int = reader.number(_U32, f"the type of {what}")
        metadata[key] = _read_array(reader, what) if type_id == _ARRAY else _read_scalar(reader, type_id, what)
    return metadata


def _read_scalar(reader: _Reader, type_id: int, what: str) -> Any:
    if type_id == _STRING:
        return reader.string(what)
    if type_id == _BOOL:
        return bool(_check_bools(reader, np.array([reader.number(struct.Struct("<B"), what)]), what)[0])
    if type_id not in _NUMBERS:
        raise reader.damaged(f"{what} has the unknown value type {type_id}")
    return reader.number(struct.Struct(_NUMBERS[type_id]), what)


def _read_array(reader: _Reader, what: str) -> Any:
    type_id: int = reader.number(_U32, f"the element type of {what}")
    count: int = reader.number(_U64, f"the length of {what}")
    if type_id == _STRING:
        return _read_strings(reader, count, what)
    if type_id == _ARRAY:
        raise CheckpointError(f"{reader.file_name}: {what} is an array of arrays, which no known metadata is.")
    if type_id != _BOOL and type_id not in _NUMBERS:
        raise reader.damaged(f"{what} has the unknown element type {type_id}")
    dtype = np.dtype(_NUMBERS.get(type_id, "u1"))
    start = reader.claim(count * dtype.itemsize, what)
    values = np.frombuffer(reader.data, dtype, count, start).copy()  # a view would keep the file mapped
    return _check_bools(reader, values, what) if type_id == _BOOL else values


def _check_bools(reader: _Reader, values: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    if values.size and values.max() > 1:
        raise reader.damaged(f"{what} holds a truth value that is neither 0 nor 1")
    return values.astype(np.bool_)


def _read_strings(reader: _Reader, count: int, what: str) -> list[str]:
    # A vocabulary is most of the header: one tight loop instead of a call for each string
    reader.require(count * _U64.size, what)
    data, size, position, unpack = reader.data, reader.size, reader.position, _U64.unpack_from
    strings: list[str] = []
    append = strings.append
    try:
        for _ in range(count):
            (length,) = unpack(data, position)
            start = position + 8
            position = start + length
            if position > size:
                raise reader.damaged(f"string {len(strings):,} of {what} is {length:,} bytes long")
            append(data[start:position].decode())
    except struct.error:
        raise reader.damaged(f"{what} ends after {len(strings):,} of {count:,} strings") from None
    except UnicodeDecodeError:
        raise reader.damaged(f"string {len(strings):,} of {what} isn't UTF-8") from None
    reader.position = position
    return strings


def _read_tensor_infos(reader: _Reader, count: int) -> list[TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for index in range(count):
        name = reader.string(f"the name of tensor {index}")
        if not name or name in tensors:
            raise reader.damaged(f"tensor {index} has no name of its own ({quoted(name)})")
        tensors[name] = _read_tensor_info(reader, name)
    return list(tensors.values())


def _read_tensor_info(reader: _Reader, name: str) -> TensorInfo:
    what = f"the description of tensor {quoted(name)}"
    num_dimensions: int = reader.number(_U32, what)
    if not 1 <= num_dimensions <= MAX_DIMENSIONS:
        raise reader.damaged(
            f"tensor {quoted(name)} has {num_dimensions:,} dimensions instead of 1 to {MAX_DIMENSIONS}"
        )
    dimensions = [int(reader.number(_U64, what)) for _ in range(num_dimensions)]
    if 0 in dimensions:
        raise reader.damaged(f"tensor {quoted(name)} has a dimension of 0")
    type_id: int = reader.number(_U32, what)
    offset: int = reader.number(_U64, what)
    return TensorInfo(name, tuple(reversed(dimensions)), type_id, offset)


def _alignment(metadata: dict[str, Any], file_name: str) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise CheckpointError(f"{file_name}: general.alignment is {alignment!r:.40}; it must be a power of two.")
    return alignment
