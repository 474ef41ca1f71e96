"""Opens GGUF models, in one file or split over several: metadata and tensors as views into memory maps."""

from __future__ import annotations

import math
import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.checkpoint.files import list_names, map_file, quoted
from inglenook.checkpoint.gguf_header import Header, TensorInfo, read_header
from inglenook.checkpoint.names import canonical_name
from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.ops.weights import BLOCK_LAYOUTS, Encoding, HostTensor

# ggml's tensor types (enum ggml_type in ggml.h)
_ENCODINGS: dict[int, Encoding] = {
    0: "f32",
    1: "f16",
    2: "q4_0",
    3: "q4_1",
    6: "q5_0",
    7: "q5_1",
    8: "q8_0",
    12: "q4_k",
    13: "q5_k",
    14: "q6_k",
    30: "bf16",
}
_OTHER_TYPES = {
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
}
_PART_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True)
class GGUFModel:
    """The metadata, and the tensors of all parts under canonical names, in the order of the files."""

    metadata: dict[str, Any]
    tensors: dict[str, HostTensor]


def read_gguf(path: Path) -> GGUFModel:
    """Open a GGUF file; of a split model any part may be named, and all are read. Raises CheckpointError."""
    header, tensors = _read_part(path)
    num_parts = header.metadata.get("split.count", 1)
    if type(num_parts) is int and num_parts <= 1:
        return GGUFModel(header.metadata, _renamed(tensors))
    return _read_split(path, header.metadata)


def part_paths(path: Path) -> list[Path] | None:
    """Where the parts of a split model lie, from the name of any of them; None where it isn't such a name."""
    match = _PART_NAME.fullmatch(path.name)
    if match is None:
        return None
    stem, count = match["stem"], int(match["count"])
    return [path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _read_split(path: Path, metadata: dict[str, Any]) -> GGUFModel:
    num_parts = metadata["split.count"]
    paths = part_paths(path)
    if paths is None or len(paths) != num_parts:
        raise CheckpointError(
            f"{path.name} is one of {num_parts!r:.40} parts of a model, but its name doesn't say which. "
            "Give it the name that it was published under, such as model-00001-of-00003.gguf."
        )
    missing = [part.name for part in paths if not part.is_file()]
    if missing:
        raise CheckpointError(
            f"The model is split into {num_parts} files, and {len(missing)} of them aren't there: "
            f"{list_names(missing)}. Fetch them into the same folder."
        )
    tensors: list[HostTensor] = []
    for number, part in enumerate(paths):
        header, part_tensors = _read_part(part)
        if (header.metadata.get("split.no"), header.metadata.get("split.count")) != (number, num_parts):
            raise CheckpointError(f"{part.name} isn't part {number + 1} of {num_parts} of this model. Fetch it again.")
        if number == 0:
            metadata = header.metadata
        tensors += part_tensors
    num_tensors = metadata.get("split.tensors.count", len(tensors))
    if num_tensors != len(tensors):
        raise CheckpointError(
            f"The {num_parts} files hold {len(tensors)} tensors instead of {num_tensors!r:.40}. Fetch them again."
        )
    return GGUFModel(metadata, _renamed(tensors))


def _renamed(tensors: list[HostTensor]) -> dict[str, HostTensor]:
    renamed: dict[str, HostTensor] = {}
    for tensor in tensors:
        name = canonical_name(tensor.name)
        if name in renamed:
            raise CheckpointError(f"The tensor {quoted(name)} is there twice. Fetch the model again.")
        renamed[name] = HostTensor(name, tensor.shape, tensor.encoding, tensor.data)
    return renamed


def _read_part(path: Path) -> tuple[Header, list[HostTensor]]:
    data = map_file(path)
    header = read_header(data, path.name)
    encodings = _encodings(header.tensors, path.name)
    sizes = [_nbytes(tensor, encoding, path.name) for tensor, encoding in zip(header.tensors, encodings, strict=True)]
    _check_placement(header, sizes, len(data), path.name)
    return header, [
        HostTensor(tensor.name, tensor.shape, encoding, _view(data, header.data_start + tensor.offset, size))
        for tensor, encoding, size in zip(header.tensors, encodings, sizes, strict=True)
    ]


def _view(data: mmap.mmap, start: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8, size, start)


def _encodings(tensors: list[TensorInfo], file_name: str) -> list[Encoding]:
    unsupported = [tensor for tensor in tensors if tensor.type_id not in _ENCODINGS]
    if unsupported:
        types = sorted({_OTHER_TYPES.get(tensor.type_id, f"unknown type {tensor.type_id}") for tensor in unsupported})
        raise UnsupportedModelError(
            f"{file_name} stores {len(unsupported)} of {len(tensors)} tensors as {', '.join(types)} "
            f"(the first is {quoted(unsupported[0].name)}); supported are "
            f"{', '.join(encoding.upper() for encoding in BLOCK_LAYOUTS)}. Get the model in one of these formats."
        )
    return [_ENCODINGS[tensor.type_id] for tensor in tensors]


def _nbytes(tensor: TensorInfo, encoding: Encoding, file_name: str) -> int:
    layout = BLOCK_LAYOUTS[encoding]
    if tensor.shape[-1] % layout.block_size:
        raise CheckpointError(
            f"{file_name} is damaged: the rows of tensor {quoted(tensor.name)} have {tensor.shape[-1]:,} values, which "
            f"isn't a multiple of {encoding.upper()}'s {layout.block_size}. Fetch it again."
        )
    return math.prod(tensor.shape) // layout.block_size * layout.block_bytes


def _check_placement(header: Header, sizes: list[int], file_size: int, file_name: str) -> None:
    """Every tensor lies inside the file, and no two share a byte."""
    placed = sorted((tensor.offset, size, tensor.name) for tensor, size in zip(header.tensors, sizes, strict=True))
    end = 0
    for offset, size, name in placed:
        if offset < end:
            raise CheckpointError(f"{file_name} is damaged: tensor {quoted(name)} overlaps another. Fetch it again.")
        end = offset + size
    missing = header.data_start + end - file_size
    if placed and missing > 0:
        raise CheckpointError(
            f"{file_name} is cut short: {missing:,} of {header.data_start + end:,} bytes are missing. Fetch it again."
        )
