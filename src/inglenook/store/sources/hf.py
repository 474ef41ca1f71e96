"""Models of the Hugging Face hub, through its own library: mirrors (HF_ENDPOINT), tokens and resuming are its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inglenook.errors import ModelSourceError
from inglenook.store.disk import DISK_ERRORS, require_space, sha256_of, sync
from inglenook.store.progress import Progress
from inglenook.store.reference import HubReference
from inglenook.store.sources.base import Expected, growth_shown, require_equal_digest

_TIMEOUT_S = 20.0
_SIDE_FILES = re.compile(r"[^/]+\.(json|jinja|txt|model)|1_Pooling/config\.json")


@dataclass(frozen=True)
class HubFile:
    path: str
    num_bytes: int
    sha256: str | None  # of files in large-file storage; others have none


def fetch(reference: HubReference, staging: Path, expected: Expected, progress: Progress) -> dict[str, str]:
    """See sources/base.py. Files that an interrupted fetch of the same commit left are resumed."""
    try:
        commit, available = _list_files(reference)
        files = select_files(reference, available)
        folder = _prepare(staging, commit)
        require_space(staging, sum(file.num_bytes for file in files))
        _download(reference, commit, files, folder, progress)
    except ModelSourceError:
        raise
    except Exception as error:
        # The hub's library raises its HTTP library's exceptions, which differ from version to version.
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise ModelSourceError(_explain(error)) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    try:
        digests = {file.path: _check(folder, file) for file in files}
        expected.check(digests)
    except ModelSourceError:
        shutil.rmtree(staging)  # or it would be taken for a complete download next time
        raise
    return digests


def _check(folder: Path, file: HubFile) -> str:
    """The file's SHA-256, equal to the hub's, once the file is safely on disk."""
    digest = sha256_of(folder / file.path)
    if file.sha256 is not None:
        require_equal_digest(file.path, digest, file.sha256)
    sync(folder / file.path)
    return digest


def select_files(reference: HubReference, available: Iterable[HubFile]) -> list[HubFile]:
    """The files to fetch: the GGUF asked for, else safetensors with configuration and tokenizer, else the only GGUF.

    Raises ModelSourceError where there is no such file, or a choice to make.
    """
    by_path = {file.path: file for file in available}
    if reference.file is not None:
        if reference.file in by_path:
            return [by_path[reference.file]]
        raise ModelSourceError(f"{reference.repository} has no {reference.file}; {_gguf_choice(reference, by_path)}")
    weights = [file for path, file in by_path.items() if re.fullmatch(r"[^/]+\.safetensors", path)]
    if weights and "config.json" in by_path:
        return weights + [file for path, file in by_path.items() if _SIDE_FILES.fullmatch(path)]
    quantised = [file for path, file in by_path.items() if path.endswith(".gguf")]
    if len(quantised) == 1:
        return quantised
    raise ModelSourceError(f"{reference.repository} {_gguf_choice(reference, by_path)}")


def _gguf_choice(reference: HubReference, paths: Iterable[str]) -> str:
    quantised = sorted(path for path in paths if path.endswith(".gguf"))
    if not quantised:
        return "has neither config.json with *.safetensors nor a .gguf file"
    return f"has {', '.join(quantised)}: name one as hf:{reference.repository}:FILE.gguf"


def _list_files(reference: HubReference) -> tuple[str, list[HubFile]]:
    """The commit that the revision means now, and its files."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(
        reference.repository, revision=reference.revision, files_metadata=True, timeout=_TIMEOUT_S
    )
    files = []
    for sibling in info.siblings or ():
        path = PurePosixPath(sibling.rfilename)
        if path.is_absolute() or ".." in path.parts or "\\" in sibling.rfilename:
            continue  # such a name can't be one of a model
        digest = sibling.lfs.sha256 if sibling.lfs is not None else None
        files.append(HubFile(sibling.rfilename, sibling.size or 0, digest))
    return info.sha or reference.revision or "main", files


def _prepare(staging: Path, commit: str) -> Path:
    """The folder to download into; what another commit left is removed."""
    staging.mkdir(parents=True, exist_ok=True)
    marker = staging / "commit"
    if not marker.exists() or marker.read_text() != commit:
        shutil.rmtree(staging)
        staging.mkdir()
        marker.write_text(commit)
    return staging / "files"


def _download(reference: HubReference, commit: str, files: list[HubFile], folder: Path, progress: Progress) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    total = sum(file.num_bytes for file in files)
    with growth_shown(folder, f"Downloading {reference.repository}", total or None, progress):
        for file in files:
            hf_hub_download(reference.repository, file.path, revision=commit, local_dir=folder)


def _explain(error: Exception) -> str:
    kind = type(error).__name__
    hints = {
        "GatedRepoError": "its owner asks for consent: accept the licence on the hub and set HF_TOKEN",
        "RepositoryNotFoundError": "there is no such repository, or it is private: set HF_TOKEN",
        "RevisionNotFoundError": "there is no such revision",
        "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
    }
    detail = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"Hugging Face hub: {hints.get(kind, f'{kind}: {detail[:300]}')}"
