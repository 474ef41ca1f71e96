"""docs/llama-cpp.md's table of fields against what the parsers read, refuse and pass over."""

from __future__ import annotations

import re
from pathlib import Path

from inglenook.dialects.llama_cpp.requests import REFUSED, WITHOUT_EFFECT
from inglenook.dialects.llama_cpp.schemas import completion_schema, infill_schema

PAGE = (Path(__file__).parents[2] / "docs" / "llama-cpp.md").read_text()
READ = completion_schema()["properties"].keys() | infill_schema()["properties"].keys()


def stated() -> dict[str, str]:
    """Field -> what the page says becomes of it."""
    section = PAGE[PAGE.index("| field | what becomes of it |") : PAGE.index("## Infill")]
    found = {}
    for line in section.splitlines()[2:]:
        if not line.startswith("|"):
            break
        names, said = (cell.strip() for cell in line.strip("|").split("|", 1))
        found |= dict.fromkeys(re.findall(r"`([\w.]+)`", names), said)
    return found


def test_the_page_tells_what_the_code_does() -> None:
    said = stated()
    assert said.keys() == {*READ, *REFUSED, *WITHOUT_EFFECT}
    assert {name for name, text in said.items() if text.startswith("refused")} == REFUSED.keys()
    assert {name for name, text in said.items() if text.startswith("no effect")} == WITHOUT_EFFECT


def test_defaults_are_told() -> None:
    said = stated()
    for name, schema in completion_schema()["properties"].items():
        default = schema.get("default")
        if isinstance(default, float) and default not in (0.0, 1.0):
            assert f"{default:g}" in said[name], name
