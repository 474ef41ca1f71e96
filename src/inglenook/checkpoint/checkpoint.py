"""The face of this package: open a model's files, whatever their format, and hand out tensors under canonical names."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inglenook.checkpoint.dummy import DummyEncoding, DummyTensors
from inglenook.checkpoint.files import list_names, read_json_object
from inglenook.checkpoint.gguf import part_paths, read_gguf
from inglenook.checkpoint.names import EMBEDDING, HEAD, is_ignored
from inglenook.checkpoint.safetensors import read_safetensors
from inglenook.config import LoadFormat
from inglenook.errors import CheckpointError
from inglenook.ops.program import Weight
from inglenook.ops.weights import HostTensor

CheckpointFormat = Literal["gguf", "safetensors", "dummy"]

_PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt"}


@dataclass(frozen=True)
class Checkpoint:
    """An opened model.

    `config` is config.json (safetensors, dummy) or the GGUF metadata; models/config_reader.py interprets both.
    `tensors` are under Hugging Face's names, with row-major shapes; most are read-only views into memory maps.
    """

    format: CheckpointFormat
    config: Mapping[str, Any]
    tensors: Mapping[str, HostTensor]
    path: Path | None
    total_bytes: int  # of all tensors as they are stored
    release: Callable[[], None] = field(repr=False, compare=False)

    def close(self) -> None:
        """Let go of the files. A tensor that someone else still holds stays readable."""
        self.release()


def open_checkpoint(path: Path, *, load_format: LoadFormat = "auto") -> Checkpoint:
    """Open a .gguf file, or a folder with config.json and safetensors, or with one GGUF model in it.

    Raises CheckpointError where nothing usable is there; UnsupportedModelError (one of it) where the files are sound
    but in a format that isn't implemented.
    """
    assert load_format != "dummy", "random weights are opened by open_dummy, once the program is known"
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        raise CheckpointError(f"There is nothing at {path.name!r}. Check the path, or fetch the model again.") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} can't be read: {error.strerror}.") from error
    if not is_folder:
        return _open_file(path, load_format)
    chosen = _choose_format(path) if load_format == "auto" else load_format
    return _open_gguf(_find_gguf(path)) if chosen == "gguf" else _open_safetensors(path)


def open_dummy(
    config: Mapping[str, Any], weights: Mapping[str, Weight], encoding: DummyEncoding = "q4_0", seed: int = 0
) -> Checkpoint:
    """Random weights for a program: `weights` is Program.weights, `encoding` that of its matrices."""
    tensors = DummyTensors(weights, encoding, seed)
    return Checkpoint("dummy", config, tensors, None, tensors.total_bytes(), tensors.close)


def unused_tensors(checkpoint: Checkpoint, used_names: Collection[str]) -> list[str]:
    """Tensors that no weight uses and that may not be ignored either: a loader refuses a model that has any."""
    used = set(used_names)
    return [
        name
        for name in checkpoint.tensors
        if name not in used and not is_ignored(name) and not _is_tied_head(checkpoint.tensors, name)
    ]


def _is_tied_head(tensors: Mapping[str, HostTensor], name: str) -> bool:
    """Some models with tied embeddings store the matrix under both names."""
    if name != HEAD or EMBEDDING not in tensors:
        return False
    head, embedding = tensors[HEAD], tensors[EMBEDDING]
    return head.encoding == embedding.encoding and np.array_equal(head.data, embedding.data)


def read_config_json(folder: Path) -> dict[str, Any]:
    """config.json of a folder. Raises CheckpointError."""
    return read_json_object(folder / "config.json")


def read_generation_config(path: Path | None) -> dict[str, Any]:
    """generation_config.json of a model folder; empty where there is none, as with GGUF and dummy models."""
    file = find_file(path, "generation_config.json")
    return read_json_object(file) if file else {}


def find_file(path: Path | None, name: str) -> Path | None:
    """A file beside the weights (tokenizer.json, chat_template.jinja, ...) if `path` is a folder that has it."""
    if path is None or not path.is_dir():
        return None
    file = path / name
    return file if file.is_file() else None


# --- finding and opening ----------------------------------------------------------------------------------------


def _open_file(path: Path, load_format: LoadFormat) -> Checkpoint:
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise _pickle_error([path.name])
    if path.suffix.lower() == ".safetensors":
        raise CheckpointError(f"{path.name} is one file of a model; give the folder that holds it and config.json.")
    if load_format == "safetensors":
        raise CheckpointError(f"{path.name} isn't a folder, which the load format safetensors needs.")
    return _open_gguf(path)


def _open_gguf(path: Path) -> Checkpoint:
    model = read_gguf(path)
    return _of_tensors("gguf", model.metadata, model.tensors, path)


def _open_safetensors(folder: Path) -> Checkpoint:
    names = _file_names(folder)
    if not _with_suffix(names, ".safetensors"):
        pickles = [name for name in names if Path(name).suffix in _PICKLE_SUFFIXES]
        raise _pickle_error(pickles) if pickles else CheckpointError(_nothing_found(folder, names))
    config = read_config_json(folder)
    return _of_tensors("safetensors", config, read_safetensors(folder), folder)


def _of_tensors(
    format: CheckpointFormat, config: Mapping[str, Any], tensors: dict[str, HostTensor], path: Path
) -> Checkpoint:
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors. Fetch the model again.")
    total_bytes = sum(tensor.data.nbytes for tensor in tensors.values())
    return Checkpoint(format, config, tensors, path, total_bytes, tensors.clear)


def _choose_format(folder: Path) -> CheckpointFormat:
    names = _file_names(folder)
    has_gguf, has_safetensors = bool(_with_suffix(names, ".gguf")), bool(_with_suffix(names, ".safetensors"))
    # A folder with both is a published safetensors model if it has its configuration
    if has_gguf and not (has_safetensors and "config.json" in names):
        return "gguf"
    return "safetensors"


def _find_gguf(folder: Path) -> Path:
    names = _with_suffix(_file_names(folder), ".gguf")
    if not names:
        raise CheckpointError(f"The folder {folder.name!r} holds no .gguf file.")
    first = folder / names[0]
    parts = part_paths(first) or [first]
    others = sorted(set(names) - {part.name for part in parts})
    if others:
        raise CheckpointError(
            f"The folder {folder.name!r} holds several GGUF models ({list_names(names)}). Give the path of one of them."
        )
    return first


def _file_names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise CheckpointError(f"The folder {folder.name!r} can't be read: {error.strerror}.") from error


def _with_suffix(names: list[str], suffix: str) -> list[str]:
    return [name for name in names if name.lower().endswith(suffix)]


def _nothing_found(folder: Path, names: list[str]) -> str:
    found = f"only {list_names(names)}" if names else "nothing"
    return (
        f"The folder {folder.name!r} holds no model: wanted are config.json with .safetensors files, or a .gguf file; "
        f"there is {found}."
    )


def _pickle_error(names: list[str]) -> CheckpointError:
    return CheckpointError(
        f"The weights are stored as pickle ({list_names(names)}), which can run any code when it is opened. Get the "
        "model as safetensors or GGUF, or convert it: load it with transformers and save it with save_pretrained."
    )
