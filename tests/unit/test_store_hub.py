"""The hub as a source, with its library replaced: choice of files, checks, resuming, messages."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inglenook.errors import ModelSourceError
from inglenook.store.reference import HubReference
from inglenook.store.sources.hf import HubFile, select_files
from inglenook.store.store import ModelStore

SAFETENSORS = {
    "config.json": b"{}",
    "generation_config.json": b"{}",
    "model-00001-of-00002.safetensors": b"a" * 100,
    "model-00002-of-00002.safetensors": b"b" * 50,
    "model.safetensors.index.json": b"{}",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"x",
    "README.md": b"words",
    "onnx/model.onnx": b"no",
    "original/consolidated.pth": b"no",
    "original/params.json": b"no",
    "image.png": b"no",
}
TAKEN = [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
]


class FakeHub:
    """Stands for huggingface_hub: one repository, whose downloads can be made to fail or to lie."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commit = "c1"
        self.fails_at: str | None = None
        self.lies_about: str | None = None
        self.downloaded: list[str] = []

    def model_info(self, repository: str, **kwargs: Any) -> Any:
        assert kwargs["files_metadata"] is True
        siblings = [
            SimpleNamespace(
                rfilename=path,
                size=len(data),
                lfs=SimpleNamespace(sha256=hashlib.sha256(data).hexdigest()) if len(data) >= 50 else None,
            )
            for path, data in self.files.items()
        ]
        return SimpleNamespace(siblings=siblings, sha=self.commit)

    def hf_hub_download(self, repository: str, path: str, *, revision: str, local_dir: Path) -> str:
        assert revision == self.commit
        target = Path(local_dir) / path
        partial = Path(local_dir) / ".cache" / (path + ".incomplete")
        partial.parent.mkdir(parents=True, exist_ok=True)
        if path == self.fails_at:
            partial.write_bytes(self.files[path][:10])
            raise RuntimeError("the connection broke\nand more lines")
        if not target.exists():
            self.downloaded.append(path)
            target.write_bytes(b"lie" if path == self.lies_about else self.files[path])
        return str(target)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(dict(SAFETENSORS))
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fake.hf_hub_download)
    return fake


def select(paths: list[str], reference: HubReference) -> list[str]:
    return sorted(file.path for file in select_files(reference, [HubFile(path, 1, None) for path in paths]))


def test_safetensors_come_with_what_belongs_to_them() -> None:
    assert select(list(SAFETENSORS), HubReference("o/n")) == TAKEN


def test_gguf_files() -> None:
    assert select(["README.md", "a.gguf"], HubReference("o/n")) == ["a.gguf"]
    assert select(["a.gguf", "q/b.gguf"], HubReference("o/n", None, "q/b.gguf")) == ["q/b.gguf"]
    assert select([*SAFETENSORS, "a.gguf"], HubReference("o/n")) == TAKEN


@pytest.mark.parametrize(
    ("paths", "file", "words"),
    [
        (["a.gguf", "b.gguf"], None, ["a.gguf, b.gguf", "hf:o/n:FILE.gguf"]),
        (["a.gguf"], "c.gguf", ["has no c.gguf", "a.gguf"]),
        (["pytorch_model.bin", "config.json"], None, ["neither", ".gguf"]),
        (["model.safetensors"], None, ["neither"]),
    ],
)
def test_no_choice_is_guessed(paths: list[str], file: str | None, words: list[str]) -> None:
    with pytest.raises(ModelSourceError) as caught:
        select(paths, HubReference("o/n", None, file))
    assert all(word in caught.value.message for word in words)


def test_a_repository_becomes_a_folder(hub: FakeHub, tmp_path: Path) -> None:
    files = ModelStore(tmp_path).resolve("owner/name")
    assert files.path is not None
    assert (files.name, files.source) == ("owner/name", "hf:owner/name")
    assert sorted(path.name for path in files.path.iterdir()) == TAKEN
    assert ModelStore(tmp_path).resolve("hf:owner/name") == files
    assert sorted(hub.downloaded) == TAKEN


def test_an_interrupted_fetch_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    hub.fails_at = "model-00002-of-00002.safetensors"
    with pytest.raises(ModelSourceError, match="the connection broke"):
        store.resolve("owner/name")
    (model,) = store.list_models()
    assert (model.reference, model.is_complete) == ("hf:owner/name", False)
    assert model.num_bytes > 100
    before = list(hub.downloaded)
    hub.fails_at = None
    store.resolve("owner/name")
    assert sorted(hub.downloaded) == TAKEN
    assert before == hub.downloaded[: len(before)]


def test_the_rest_of_another_commit_is_not_used(hub: FakeHub, tmp_path: Path) -> None:
    hub.fails_at = "model-00002-of-00002.safetensors"
    with pytest.raises(ModelSourceError):
        ModelStore(tmp_path).resolve("owner/name")
    hub.commit, hub.fails_at = "c2", None
    hub.files["model-00001-of-00002.safetensors"] = b"new" * 30
    path = ModelStore(tmp_path).resolve("owner/name").path
    assert path is not None
    assert (path / "model-00001-of-00002.safetensors").read_bytes() == b"new" * 30


def test_what_an_interrupted_fetch_left_can_be_removed(hub: FakeHub, tmp_path: Path) -> None:
    hub.fails_at = "tokenizer.json"
    store = ModelStore(tmp_path)
    with pytest.raises(ModelSourceError):
        store.resolve("owner/name")
    store.remove_model("owner/name")
    assert store.list_models() == []


def test_a_file_that_is_not_the_hubs_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.lies_about = "model-00001-of-00002.safetensors"
    with pytest.raises(ModelSourceError, match="not the same file"):
        ModelStore(tmp_path).resolve("owner/name")
    assert ModelStore(tmp_path).list_models() == []
    hub.lies_about = None
    ModelStore(tmp_path).resolve("owner/name")


@pytest.mark.parametrize(
    ("kind", "hint"), [("GatedRepoError", "HF_TOKEN"), ("RepositoryNotFoundError", "private"), ("Odd", "Odd: boom")]
)
def test_errors_of_the_hub_say_what_to_do(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, hint: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise type(kind, (Exception,), {})("boom\nmore")

    monkeypatch.setattr(hub, "model_info", refuse)
    with pytest.raises(ModelSourceError, match=hint):
        ModelStore(tmp_path).resolve("owner/name")
