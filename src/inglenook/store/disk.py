"""Files that are whole or absent: checksums, durable writes, free space, and one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inglenook.errors import ModelSourceError
from inglenook.store.progress import Progress

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
DISK_ERRORS = _FULL + _UNWRITABLE

_CHUNK_BYTES = 1 << 20
_MARGIN_BYTES = 32 << 20  # what else may be written to the disk meanwhile


class DiskFullError(ModelSourceError):
    """No other source would help."""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Have a file, or the entries of a folder, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """The file holds the old text or the new, whatever happens meanwhile."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def size_of(folder: Path) -> int:
    """Bytes of all files beneath a folder, which others may be changing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def require_space(folder: Path, num_bytes: int) -> None:
    """Raise DiskFullError, saying how much is needed and where, unless that much is free."""
    free = shutil.disk_usage(folder).free
    if num_bytes and free < num_bytes + _MARGIN_BYTES:
        raise DiskFullError(
            f"Not enough disk space in {folder}: {format_bytes(num_bytes + _MARGIN_BYTES)} are needed, "
            f"{format_bytes(free)} are free. Free some, or set INGLENOOK_HOME to a folder on another disk."
        )


@contextmanager
def explain_disk_errors(folder: Path, num_bytes: int) -> Iterator[None]:
    """Turn a full or unwritable disk into ModelSourceError. `num_bytes` is what was going to be written."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            needed = f"{format_bytes(num_bytes)} are needed" if num_bytes else "more is needed"
            raise DiskFullError(
                f"The disk became full while writing to {folder}: {needed}. "
                "Free some space, or set INGLENOOK_HOME to a folder on another disk."
            ) from error
        if error.errno in _UNWRITABLE:
            raise ModelSourceError(
                f"The folder {folder} can't be written to ({error.strerror}). Set INGLENOOK_HOME to a folder that can."
            ) from error
        raise


@contextmanager
def locked(path: Path, waiting_for: str, progress: Progress) -> Iterator[None]:
    """Hold a lock file; the system gives it back when the process ends, however it ends."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"Another process is at work on {waiting_for}; waiting for it.")
        lock.acquire(poll_interval=0.1)
    try:
        yield
    finally:
        lock.release()


def format_bytes(num_bytes: float) -> str:
    """'98.4 MB': decimal units, as disks and downloads are labelled."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 999.95:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
