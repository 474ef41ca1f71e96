"""The record that makes a model present: written last, read first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inglenook.store.disk import sha256_of, write_atomically

FORMAT = 1
MANIFEST_NAME = "manifest.json"
FILES_NAME = "files"


@dataclass(frozen=True)
class StoredFile:
    path: str  # beneath the model's `files`, with forward slashes
    num_bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    reference: str
    source: str
    fetched: int  # Unix time, s
    files: tuple[StoredFile, ...]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)


def record_files(folder: Path, sha256: Iterable[tuple[str, str]]) -> tuple[StoredFile, ...]:
    """Stat each (path, SHA-256) beneath `folder`."""
    return tuple(_record(folder, path, digest) for path, digest in sorted(sha256))


def read_manifest(model_folder: Path) -> Manifest | None:
    """None where there is none, or one that this version can't read: the model then counts as absent."""
    try:
        raw: dict[str, Any] = json.loads((model_folder / MANIFEST_NAME).read_bytes())
        if raw["format"] != FORMAT:
            return None
        files = tuple(StoredFile(**file) for file in raw["files"])
        return Manifest(raw["reference"], raw["source"], raw["fetched"], files)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(model_folder: Path, manifest: Manifest) -> None:
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1)
    write_atomically(model_folder / MANIFEST_NAME, text + "\n")


def is_intact(model_folder: Path, manifest: Manifest) -> bool:
    """Whether the files are those of the manifest, by size and time; content is read only where the time differs."""
    folder = model_folder / FILES_NAME
    current = []
    for file in manifest.files:
        try:
            found = _record(folder, file.path, file.sha256)
        except OSError:
            return False
        if found.num_bytes != file.num_bytes:
            return False
        if found.mtime_ns != file.mtime_ns and sha256_of(folder / file.path) != file.sha256:
            return False
        current.append(found)
    if tuple(current) != manifest.files:
        write_manifest(model_folder, replace(manifest, files=tuple(current)))
    return True


def _record(folder: Path, path: str, sha256: str) -> StoredFile:
    stat = (folder / path).stat()
    return StoredFile(path, stat.st_size, stat.st_mtime_ns, sha256)
