"""docs/embeddings.md's tables of request fields against what the parsers read, refuse and pass over."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inglenook.dialects.pooling.fields import REFUSED, WITHOUT_EFFECT
from inglenook.dialects.pooling.schemas import (
    classify_schema,
    cohere_schema,
    embedding_schema,
    pooling_schema,
    predict_schema,
    rerank_schema,
    score_schema,
    similarity_schema,
    tei_embed_schema,
)
from inglenook.server.routes import not_served

PAGE = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text()


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def first_column(text: str) -> set[str]:
    """The names in the first cells of a section's table."""
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return {name for row in rows for name in names_in(row.split("|")[1])}


@pytest.mark.parametrize(
    ("route", "schema"),
    [
        ("/v1/embeddings", embedding_schema),
        ("/v1/rerank", rerank_schema),
        ("/v1/score", score_schema),
        ("/v1/classify", classify_schema),
        ("/v1/pooling", pooling_schema),
        ("/v2/embed", cohere_schema),
        ("/embed", tei_embed_schema),
        ("/similarity", similarity_schema),
        ("/predict", predict_schema),
    ],
)
def test_fields_that_are_honoured(route: str, schema: Callable[[], dict[str, Any]]) -> None:
    table = section(f"Fields of `{route}`").partition("\nErrors of ")[0]
    assert first_column(table) == set(schema()["properties"])


def test_fields_that_are_not() -> None:
    text = section("Fields of all without effect, or refused")
    assert first_column(text) == set(REFUSED)
    assert names_in(text.split("| refused")[0]) == set(WITHOUT_EFFECT)


def test_routes_that_are_not() -> None:
    text = section("What isn't served")
    assert all(f"{route.path}`" in text for route in not_served.ROUTES)
