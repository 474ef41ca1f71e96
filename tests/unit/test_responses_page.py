"""docs/responses.md's table of request fields against what the parser reads, refuses and passes over."""

from __future__ import annotations

import re
from pathlib import Path

from inglenook.dialects.openai.schemas import chat_schema
from inglenook.dialects.responses.fields import REFUSED, WITHOUT_EFFECT
from inglenook.dialects.responses.schemas import response_schema
from inglenook.server.routes.responses import ROUTES

PAGE = (Path(__file__).parents[2] / "docs" / "responses.md").read_text()
SECTION = PAGE[PAGE.index("## Fields of a request") : PAGE.index("### Items")]
READ = set(response_schema()["properties"])


def table() -> dict[str, str]:
    lines = [line for line in SECTION.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: row[1] for row in cells for name in re.findall(r"`(\w+)`", row[0])}


def test_the_table_tells_what_the_code_does() -> None:
    of_chats = set(re.findall(r"`(\w+)`", SECTION[SECTION.index("Further fields") :]))
    stated = {**dict.fromkeys(of_chats, "yes"), **table()}
    actual = {
        **dict.fromkeys(READ, "yes"),
        **dict.fromkeys(REFUSED, "refused"),
        **dict.fromkeys(WITHOUT_EFFECT, "no effect"),
    }
    assert stated == actual
    assert of_chats <= set(chat_schema()["properties"])


def test_every_route_is_on_the_page() -> None:
    for route in ROUTES:
        assert f"`{route.method} /v1{route.path.replace('response_id', 'id')}`" in PAGE
