"""The examples of docs/clients.md run as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import ClientsPython

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
OUTPUTS = {
    "openai": r"^name='.*' country='.*' has_harbour=(True|False)$",
    "LangChain": r"^17 degrees (celsius|fahrenheit) in ",
    "LiteLLM": r"^Answer: \S",
    "AgentScope 0.0.1": r"^Answer: \S",
    "AutoGen 0.2": r"^\['person', '\w+', '\w+', '\w+'\]$",
    "AutoGen 0.4 and later": r"^mood='(glad|sad|neither)' is_question=(True|False)$",
}


def test_every_example_is_run() -> None:
    assert EXAMPLES.keys() == OUTPUTS.keys()
    assert DOCUMENT.count("```python") == len(EXAMPLES)


@pytest.mark.parametrize("client", OUTPUTS)
def test_an_example_of_the_documentation(
    server: Server, clients_python: ClientsPython, client: str, tmp_path: Path
) -> None:
    assert ADDRESS in EXAMPLES[client]
    done = subprocess.run(
        [clients_python.path, "-c", EXAMPLES[client].replace(ADDRESS, server.url)],
        capture_output=True,
        text=True,
        timeout=240,
        env=clients_python.environment,
        cwd=tmp_path,  # AgentScope writes a folder
    )
    assert done.returncode == 0, done.stderr[-8000:]
    assert re.search(OUTPUTS[client], done.stdout, re.MULTILINE), done.stdout[-4000:]
