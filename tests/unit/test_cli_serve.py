"""inglenook serve: the wiring and what it prints, over a back end that answers nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette

from inglenook.backends.base import BackendStats
from inglenook.backends.generation_config import GenerationConfig
from inglenook.cli.main import run
from inglenook.cli.serve import _is_loopback, _process_age_s
from inglenook.config import EngineSettings, ModelSettings, ServerSettings
from inglenook.engine.memory import AvailableMemory
from inglenook.errors import OutOfMemoryError
from inglenook.gateway.router import Router
from inglenook.store.store import ModelFiles
from inglenook.types import ModelCard


class SilentBackend:
    generation = GenerationConfig({"temperature": 0.2, "top_p": 0.9}, frozenset())

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def models(self) -> list[ModelCard]:
        return [ModelCard(name, 0, 100, "root") for name in self.names]

    def stats(self) -> BackendStats:
        return BackendStats()

    def is_healthy(self) -> bool:
        return True

    async def close(self) -> None:
        pass


class Loader:
    """Stands for load_backend and server.run, and keeps what they were given."""

    def __init__(self) -> None:
        self.files = ModelFiles(None, "", "")
        self.model = ModelSettings()
        self.engine = EngineSettings()
        self.server = ServerSettings()
        self.draft: ModelFiles | None = None
        self.events: list[str] = []
        self.shares: list[AvailableMemory | None] = []
        self.router = Router([])

    def load(
        self,
        files: ModelFiles,
        model: ModelSettings,
        engine: EngineSettings,
        *,
        draft: ModelFiles | None,
        available: AvailableMemory | None,
        on_plan: Callable[[Any], None],
    ) -> SilentBackend:
        self.files, self.model, self.engine, self.draft = files, model, engine, draft
        self.shares.append(available)
        on_plan(SimpleNamespace(describe=lambda: [("context length", "100 tokens")]))
        self.events.append("loaded")
        return SilentBackend(model.served_model_name or (files.name,))

    def run(
        self, app: Starlette, server: ServerSettings, *, listener: socket.socket, on_ready: Callable[[str], None]
    ) -> None:
        self.server = server
        self.router = app.state.inglenook.router
        self.events.append("running")
        on_ready(f"http://{server.host}:{listener.getsockname()[1]}")
        listener.close()


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loader:
    for name in [name for name in os.environ if name.startswith("INGLENOOK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("INGLENOOK_HOME", str(tmp_path))
    loader = Loader()
    monkeypatch.setattr("inglenook.backends.load.load_backend", loader.load)
    monkeypatch.setattr("inglenook.server.run.run", loader.run)
    return loader


def serve(*arguments: str) -> int:
    return run(["serve", "dummy:1b", "--port", "0", "--isa", "scalar", *arguments])


def test_what_is_printed(loader: Loader, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve("--threads", "3") == 0
    output = capsys.readouterr()
    labels = {line[2:20].strip(): line[20:].strip() for line in output.out.splitlines() if line.startswith("  ")}
    assert labels["context length"] == "100 tokens"
    assert labels["threads"] == "3"
    assert labels["instruction set"] == "scalar"
    assert labels["sampling"] == "temperature 0.2, top_p 0.9, where a request leaves it open"
    assert labels["ready"].startswith("http://127.0.0.1:")
    assert " after " in labels["ready"]
    url = labels["ready"].split()[0]
    assert f"curl {url}/v1/chat/completions" in output.out
    assert '"model": "dummy:1b"' in output.out
    assert output.err == ""


def test_settings_reach_their_parts(loader: Loader) -> None:
    words = "--max-model-len 50 --served-model-name a b --max-num-seqs 4 --shutdown-grace-s 1"
    assert serve(*words.split()) == 0
    assert loader.events == ["loaded", "running"]
    assert loader.files.name == "dummy:1b"
    assert (loader.model.max_model_len, loader.model.served_model_name) == (50, ("a", "b"))
    assert loader.engine.max_num_seqs == 4
    assert loader.engine.threads is not None
    assert loader.draft is None
    assert loader.server.shutdown_grace_s == 1.0


def test_a_draft_model_is_resolved_as_the_model_is(
    loader: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.gguf").touch()
    assert serve("--speculative-config", f'{{"model": "{tmp_path}/small.gguf", "num_speculative_tokens": 5}}') == 0
    assert loader.draft == ModelFiles(tmp_path / "small.gguf", "small", "path")
    assert loader.engine.speculative_config.method == "draft_model"
    assert loader.engine.speculative_config.num_speculative_tokens == 5
    assert serve("--speculative-config", '{"method": "draft_model", "model": "dummy:135m"}') == 0
    assert loader.draft == ModelFiles(None, "dummy:135m", "dummy")
    capsys.readouterr()
    loader.events.clear()
    assert serve("--speculative-config", f'{{"model": "{tmp_path}/none.gguf"}}') != 0
    assert "none.gguf" in capsys.readouterr().err
    assert loader.events == []


def test_several_models(loader: Loader, capsys: pytest.CaptureFixture[str]) -> None:
    """The shares are made before the first is loaded; what a name means is known in the end."""
    words = "--model dummy:tiny --max-num-seqs 4 --alias gpt-4=dummy:tiny b=dummy:1b --any-model"
    assert serve(*words.split()) == 0
    assert loader.events == ["loaded", "loaded", "running"]
    assert [card.name for card in loader.router.models()] == ["dummy:1b", "dummy:tiny", "gpt-4", "b"]
    assert (loader.router.resolve("gpt-4"), loader.router.resolve("gpt-5")) == ("dummy:tiny", "dummy:1b")
    first, second = loader.shares
    assert first is not None
    assert second is not None
    assert first.num_bytes > second.num_bytes > 2**27
    output = capsys.readouterr().out
    assert "models             dummy:1b, dummy:tiny, gpt-4, b" in output
    assert output.count("context length") == 2


def test_models_with_settings_of_their_own(loader: Loader, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        """
        max_num_seqs = 7
        alias = { "gpt-4" = "small", b = "dummy:1b" }

        [[models]]
        model = "dummy:tiny"
        served_model_name = ["small", "tiny"]
        max_num_seqs = 3

        [[models]]
        model = "dummy:1b"
        """
    )
    arguments = ["serve", "--config", str(file), "--port", "0", "--isa", "scalar"]
    assert run(arguments) == 0
    assert [card.name for card in loader.router.models()] == ["small", "tiny", "dummy:1b", "gpt-4", "b"]
    assert loader.engine.max_num_seqs == 7
    assert loader.engine.isa == "scalar"
    assert run([*arguments, "--alias", "b=small", "--model", "dummy:tiny"]) == 0
    assert [card.name for card in loader.router.models()] == ["small", "tiny", "b"]
    assert loader.engine.max_num_seqs == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model dummy:tiny --model dummy:tiny", "Two models would be served as dummy:tiny"),
        ("--model dummy:tiny --served-model-name a", "--alias NAME=MODEL"),
        ("--alias gpt-4", "isn't NAME=MODEL"),
        ("--alias gpt-4=dummy:tiny", "gpt-4 means dummy:tiny, which isn't served. Models: dummy:1b"),
        ("--alias dummy:1b=dummy:1b", "is the name of a model"),
    ],
)
def test_names_that_cannot_be(loader: Loader, capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    assert serve(*words.split()) == 2
    assert message in capsys.readouterr().err
    assert loader.events == [], "told before anything is loaded"


def test_an_open_server_is_warned_of(loader: Loader, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve("--host", "0.0.0.0") == 0
    assert "Warning: anyone who can reach" in capsys.readouterr().err
    assert serve("--host", "0.0.0.0", "--api-key", "hush") == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "Bearer $KEY" in output.out
    assert "hush" not in output.out


def test_a_slip_in_the_environment_is_told(
    loader: Loader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGLENOOK_THREAD", "3")
    assert serve() == 0
    assert "Did you mean INGLENOOK_THREADS" in capsys.readouterr().err


def test_a_taken_port_is_told_before_the_model_is_loaded(loader: Loader, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert serve("--port", port) == 2
    error = capsys.readouterr().err
    assert port in error
    assert "--port" in error
    assert loader.events == []


def test_a_model_that_does_not_fit_is_one_line(
    loader: Loader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OutOfMemoryError("It needs 9 GB.")

    monkeypatch.setattr("inglenook.backends.load.load_backend", refuse)
    assert serve() == 1
    assert capsys.readouterr().err == "Error: It needs 9 GB.\n"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.5", False), ("myhost", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert _is_loopback(host) is expected


def test_age_of_this_process() -> None:
    assert 0 < _process_age_s() < 24 * 3600
