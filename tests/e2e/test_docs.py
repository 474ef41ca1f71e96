"""The examples of the documentation, run as they stand against the default model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.server_process import Server

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["tools.md", "structured-output.md"])
def test_examples(server: Server, page: str) -> None:
    """The blocks of a page go on from one another."""
    blocks = BLOCK.findall((DOCS / page).read_text())
    assert len(blocks) >= 5
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        exec(compile(block.replace("http://127.0.0.1:8000", server.url), page, "exec"), names)
