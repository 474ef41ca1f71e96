"""docs/api.md's table of request fields against what the parsers read, refuse and pass over."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from inglenook.dialects.openai.fields import CHAT_ONLY, REFUSED, WITHOUT_EFFECT
from inglenook.dialects.openai.schemas import chat_schema, completion_schema

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SECTION = PAGE[PAGE.index("## Request fields") : PAGE.index("## Answers")]
READ = {"chat": chat_schema()["properties"].keys(), "completions": completion_schema()["properties"].keys()}


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table under a line of headings."""
    lines = SECTION[SECTION.index(heading) :].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def stated(route: str) -> dict[str, str]:
    """Field -> what the page says becomes of it on a route."""
    column = 1 if route == "chat" else 2
    by_row = {name: row[column] for row in rows("| field | chat |") for name in names_in(row[0])}
    return {**by_row, **{name: "refused" for row in rows("| fields | values that pass |") for name in names_in(row[0])}}


def actual(route: str) -> dict[str, str]:
    refused: Collection[str] = REFUSED if route == "chat" else {**REFUSED, **CHAT_ONLY}
    return {
        **dict.fromkeys(refused, "refused"),
        **dict.fromkeys(WITHOUT_EFFECT, "no effect"),
        **dict.fromkeys(READ[route], "yes"),
    }


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_the_page_tells_what_the_code_does(route: str) -> None:
    on_page = {name: said for name, said in stated(route).items() if said}
    in_code = actual(route)
    assert sorted(set(in_code) - set(on_page)) == [], "missing on the page"
    assert sorted(set(on_page) - set(in_code)) == [], "on the page only"
    assert {n: (said, in_code[n]) for n, said in on_page.items() if said != in_code[n]} == {}
