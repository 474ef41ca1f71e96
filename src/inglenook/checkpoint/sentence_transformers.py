"""Reads what sentence-transformers puts beside a model: modules.json with a folder for each module behind the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from inglenook.checkpoint.checkpoint import find_file
from inglenook.checkpoint.files import quoted, read_json_object
from inglenook.checkpoint.safetensors import read_safetensors
from inglenook.errors import CheckpointError
from inglenook.ops.weights import HostTensor

LIST_NAME = "modules.json"
MAX_LIST_BYTES = 1_000_000


@dataclass(frozen=True)
class SentenceModule:
    """`kind` is its class (Pooling, Dense, Normalize, ...); `name` its folder's; `config` empty where it has none."""

    kind: str
    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, HostTensor]  # under `name` and a dot


def is_sentence_model(path: Path | None) -> bool:
    return find_file(path, LIST_NAME) is not None


def read_modules(path: Path | None) -> list[SentenceModule] | None:
    """The modules behind the model itself, in order; None where the folder has no modules.json.

    Raises CheckpointError.
    """
    file = find_file(path, LIST_NAME)
    if file is None:
        return None
    folder = file.parent
    entries = _read_list(file)
    if entries[0][0] != "Transformer":
        raise CheckpointError(f"{LIST_NAME} begins with the module {quoted(entries[0][0])}; it must be a Transformer.")
    if entries[0][1] not in ("", "."):
        raise CheckpointError(
            f"{LIST_NAME} has the model in the folder {quoted(entries[0][1])}, an old layout. Move what is in it up "
            'beside modules.json and make its path "".'
        )
    return [_read_module(folder, kind, name) for kind, name in entries[1:]]


def read_max_seq_length(path: Path | None) -> Any:
    """The longest input that its makers want, as sentence_bert_config.json has it; None where there is none."""
    file = find_file(path, "sentence_bert_config.json")
    return None if file is None else read_json_object(file).get("max_seq_length")


def _read_list(file: Path) -> list[tuple[str, str]]:
    """Class and folder of each module."""
    text = file.read_bytes()[: MAX_LIST_BYTES + 1]
    try:
        entries = json.loads(text)
        modules = [(entry["type"].rpartition(".")[2], entry["path"]) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{LIST_NAME} isn't a list of modules, each with type and path. Fetch it again."
        ) from error
    if not modules or not all(isinstance(name, str) for _, name in modules):
        raise CheckpointError(f"{LIST_NAME} names no modules. Fetch it again.")
    return modules


def _read_module(folder: Path, kind: str, name: str) -> SentenceModule:
    if name in ("", ".", "..") or PurePosixPath(name).name != name or "\\" in name:
        raise CheckpointError(f"{LIST_NAME} has a module in {quoted(name)}, which isn't a folder beside it.")
    file = find_file(folder / name, "config.json")
    config = {} if file is None else read_json_object(file)
    return SentenceModule(kind, name, config, _read_tensors(folder / name) if kind == "Dense" else {})


def _read_tensors(folder: Path) -> dict[str, HostTensor]:
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"The module {folder.name} has no weights as safetensors. Get {folder.name}/model.safetensors too; weights "
            "stored as pickle (pytorch_model.bin) aren't opened, since that can run any code."
        )
    tensors = read_safetensors(folder)
    return {
        f"{folder.name}.{name}": HostTensor(f"{folder.name}.{name}", tensor.shape, tensor.encoding, tensor.data)
        for name, tensor in tensors.items()
    }
