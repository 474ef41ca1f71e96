"""docs/agents.md's table of POST /llm/ against what its parser reads, passes over and refuses."""

from __future__ import annotations

import re
from pathlib import Path

from inglenook.dialects.flask.service import REFUSED, WITHOUT_EFFECT, call_schema

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()


def stated() -> dict[str, str]:
    """Field -> what the page says becomes of it."""
    table = PAGE[PAGE.index("| field | what becomes of it |") :].split("\n\n")[0].splitlines()[2:]
    cells = [row.strip("|").split("|", 1) for row in table]
    return {name: said.strip() for names, said in cells for name in re.findall(r"`(\w+)`", names)}


def test_the_page_tells_what_the_code_does() -> None:
    said = stated()
    neutral = {name: f"refused unless {value[0]}" if value else "refused" for name, value in REFUSED.items()}
    assert {name: text for name, text in said.items() if text.startswith("refused")} == neutral
    assert {name for name, text in said.items() if text == "no effect"} == WITHOUT_EFFECT
    assert said.keys() - REFUSED.keys() - WITHOUT_EFFECT == call_schema()["properties"].keys()
