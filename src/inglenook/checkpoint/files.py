"""Opening the files of a model: memory maps and JSON, with errors that a person can act on."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inglenook.errors import CheckpointError

MAX_JSON_BYTES = 100_000_000  # as large as a safetensors header may be; a larger one isn't a model's
MAX_NAME_SHOWN = 100  # characters


def map_file(path: Path) -> mmap.mmap:
    """Map a file read-only. The map ends when the last view into it is gone.

    Raises CheckpointError where the file is missing, unreadable or empty.
    """
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path.name}. Check the path, or fetch the model again.") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} can't be read: {error.strerror}.") from error
    except ValueError:
        raise CheckpointError(f"{path.name} is empty. Fetch it again.") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError where it isn't there or isn't one."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path.name}. Fetch the model again.") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} can't be read: {error.strerror}.") from error
    if len(text) > MAX_JSON_BYTES:
        raise CheckpointError(f"{path.name} is larger than {MAX_JSON_BYTES:,} bytes; that isn't a model's.")
    return parse_json_object(text, path.name)


def parse_json_object(text: bytes, where: str) -> dict[str, Any]:
    """As json.loads, but only objects, and without two values under one key. `where` names it in errors."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise CheckpointError(f"{where} isn't valid JSON ({error}). Fetch it again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a JSON {type(value).__name__}; it must hold an object.")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {quoted(repeated)} is there twice")
    return result


def quoted(name: str) -> str:
    """A name out of a file, as an error message may hold it: short and printable whatever it is."""
    return repr(name if len(name) <= MAX_NAME_SHOWN else name[:MAX_NAME_SHOWN] + "...")


def list_names(names: Sequence[str], limit: int = 5) -> str:
    """Names for an error message: the first few, then how many more."""
    shown = ", ".join(map(quoted, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
