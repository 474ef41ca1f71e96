"""Servers for agents' libraries, and how a test runs those libraries: in a virtual environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.chat_templates import QWEN3
from fixtures.server_process import Server, start_server

HERE = Path(__file__).parent
VENV = Path(os.environ.get("INGLENOOK_TEST_CLIENTS") or HERE.parents[1] / ".venv-clients").absolute()
STRICT = ("--chat-template", str(HERE / "strict_template.jinja"))

RunClient = Callable[..., Any]


@dataclass
class ScriptedServer:
    """`inglenook serve` whose model says what the test wrote down (scripted_server.py)."""

    server: Server
    script: Path
    prompts_file: Path

    @property
    def url(self) -> str:
        return self.server.url

    def play(self, *turns: str) -> None:
        """What the model says from now on, one text an answer."""
        self.script.write_text(json.dumps(turns))
        self.prompts_file.write_text("")

    @property
    def unplayed(self) -> list[str]:
        return json.loads(self.script.read_text())  # type: ignore[no-any-return]

    @property
    def prompts(self) -> list[str]:
        """What the model was asked since the last `play`."""
        return [json.loads(line) for line in self.prompts_file.read_text().splitlines()]


@dataclass(frozen=True)
class ClientsPython:
    path: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def clients_python() -> ClientsPython:
    """The Python that has the clients, and an environment in which nothing leads them elsewhere."""
    path = VENV / "bin" / "python"
    assert path.exists(), f"{VENV} has no Python: `make test` makes it, `make {VENV.name}/.installed` makes it alone."
    foreign = ("PYTHON", "OPENAI", "LANGCHAIN", "LANGSMITH")
    return ClientsPython(path, {k: value for k, value in os.environ.items() if not k.startswith(foreign)})


@pytest.fixture(scope="session")
def run_client(clients_python: ClientsPython) -> RunClient:
    """Run a function of a file in scripts/; gives what it returned."""

    def run(script: str, function: str, server: Server | ScriptedServer, **arguments: Any) -> Any:
        done = subprocess.run(
            [clients_python.path, HERE / "scripts" / "run.py", script, function, json.dumps(arguments)],
            capture_output=True,
            text=True,
            timeout=240,
            env={**clients_python.environment, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"},
        )
        assert done.returncode == 0, f"{script}.{function} failed:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        [result] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        return json.loads(result.removeprefix("RESULT "))

    return run


@pytest.fixture(scope="session")
def server(default_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default model as it is served with no arguments, but for what would write into the user's folder and that
    what requests leave open is drawn in the same way each time.
    """
    store = tmp_path_factory.mktemp("store") / "responses.sqlite"
    yield from _until_the_end(start_server(default_model, "--response-store", str(store), "--seed", "1"))


@pytest.fixture(scope="session")
def strict_server(default_model: str) -> Iterator[Server]:
    """The default model under a template that takes nothing but user and assistant in turns."""
    yield from _until_the_end(start_server(default_model, *STRICT))


@pytest.fixture(scope="session")
def embedding_server(embedding_model: str) -> Iterator[Server]:
    yield from _until_the_end(start_server(embedding_model))


@pytest.fixture(scope="session")
def scripted_server(default_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    yield from _scripted(tmp_path_factory.mktemp("scripted"), default_model)


@pytest.fixture(scope="session")
def strict_scripted_server(default_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    yield from _scripted(tmp_path_factory.mktemp("strict"), default_model, *STRICT)


@pytest.fixture(scope="session")
def thinking_scripted_server(default_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    """With a template of a family that thinks and calls: Qwen 3."""
    folder = tmp_path_factory.mktemp("thinking")
    (folder / "template.jinja").write_text(QWEN3)
    yield from _scripted(folder, default_model, "--chat-template", str(folder / "template.jinja"))


def _scripted(folder: Path, *arguments: str) -> Iterator[ScriptedServer]:
    script, prompts = folder / "turns.json", folder / "prompts.jsonl"
    program = (str(HERE / "scripted_server.py"), str(script), str(prompts))
    store = ("--response-store", str(folder / "responses.sqlite"))
    for server in _until_the_end(start_server(*arguments, *store, program=program)):
        yield ScriptedServer(server, script, prompts)


def _until_the_end(server: Server) -> Iterator[Server]:
    yield server
    assert server.stop() == 0
