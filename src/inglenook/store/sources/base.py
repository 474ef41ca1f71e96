"""What every source takes and gives.

A source module has `fetch(reference, staging, expected, progress) -> digests`: it leaves the files, checked and on
disk, in `staging/files` and returns SHA-256 by path. `staging` is its own folder, which may hold what an interrupted
fetch left. It raises ModelSourceError with the reason where it can't.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from inglenook.errors import ModelSourceError
from inglenook.store.disk import size_of
from inglenook.store.progress import Progress

_POLL_S = 0.1


@dataclass(frozen=True)
class Expected:
    """What the catalogue recorded of a source; zeros and an empty mapping where nothing was."""

    download_bytes: int = 0
    total_bytes: int = 0  # of the files, unpacked
    sha256: Mapping[str, str] = field(default_factory=dict)  # by path beneath `files`

    def check(self, digests: Mapping[str, str]) -> None:
        """Raise ModelSourceError unless every recorded file is there with its checksum."""
        for path, recorded in self.sha256.items():
            require_equal_digest(path, digests.get(path), recorded)


def require_equal_digest(path: str, actual: str | None, recorded: str) -> None:
    if actual is None:
        raise ModelSourceError(f"{path} isn't among the files")
    if actual != recorded:
        raise ModelSourceError(f"the SHA-256 of {path} is {actual}, not {recorded} as recorded: not the same file")


@contextmanager
def growth_shown(folder: Path, description: str, total: int | None, progress: Progress) -> Iterator[None]:
    """Report how the content of `folder` grows meanwhile, for tools that don't tell how far they are.

    A thread of its own watches, as the tool may block this one.
    """
    is_done = Event()
    shown = before = size_of(folder)

    def show(size: int) -> None:
        # A tool may move files out of sight for a moment: never go back, and never past the total.
        nonlocal shown
        size = min(size, before + total) if total else size
        if size > shown:
            progress.advance(size - shown)
            shown = size

    def watch() -> None:
        while not is_done.wait(_POLL_S):
            show(size_of(folder))

    progress.start(description, total)
    thread = Thread(target=watch, name="inglenook-progress", daemon=True)
    thread.start()
    try:
        yield
        is_done.set()
        thread.join()
        show(before + total if total else size_of(folder))
    finally:
        is_done.set()
        thread.join()
        progress.finish()
