"""docs/huggingface.md's tables of fields against what the parsers read and refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from inglenook.dialects.huggingface.pooling import read_classification, read_embed
from inglenook.dialects.huggingface.requests import REFUSED
from inglenook.dialects.huggingface.schemas import compat_schema, parameters_schema
from inglenook.dialects.json_fields import Fields

PAGE = (Path(__file__).parents[2] / "docs" / "huggingface.md").read_text()


def table(before: str) -> dict[str, str]:
    """Field -> its cell, of the table that follows a line."""
    lines = PAGE[PAGE.index(before) + len(before) :].lstrip().splitlines()[2:]
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        names, said = (cell.strip() for cell in line.strip("|").split("|", 1))
        found |= dict.fromkeys(re.findall(r"`(\w+)`", names), said)
    return found


def test_fields_of_the_body() -> None:
    assert table("Of the body:").keys() == compat_schema()["properties"].keys()


def test_parameters() -> None:
    said = table("Of `parameters`:")
    assert {name for name, text in said.items() if text.startswith("refused")} == REFUSED.keys()
    assert said.keys() - REFUSED.keys() == parameters_schema()["properties"].keys()


def test_fields_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    not_options = {"inputs", "parameters", "model"}
    get = Fields.get

    def recorded(fields: Fields, key: str) -> Any:
        read.add(key)
        return get(fields, key)

    monkeypatch.setattr(Fields, "get", recorded)
    read_embed(Fields({"inputs": "x"}), "", model="")
    assert table("Fields, in the body (as huggingface_hub sends them) or in `parameters`:").keys() == read - not_options
    read.clear()
    read_classification(Fields({"inputs": "x"}), "", model="")
    assert table("Fields of classes, in the body or in `parameters`:").keys() == read - not_options
