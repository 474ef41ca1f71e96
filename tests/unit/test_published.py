"""The comparison of our schemas with published types: each way of being different shows."""

from __future__ import annotations

import copy
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from fixtures.published import compare, schema_of
from fixtures.published_tables import check


class Text(BaseModel):
    type: Literal["text"]
    text: str


class Call(BaseModel):
    type: Literal["call"]
    name: str
    arguments: dict[str, object] = {}


class Answer(BaseModel):
    id: str
    reason: Literal["stop", "length"] | None = None
    score: float
    parts: list[Text | Call]
    note: str | None = None


def schema(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [n for n in properties if n not in optional]}


TEXT = schema({"type": {"const": "text"}, "text": {"type": "string"}})
OURS = schema(
    {
        "id": {"type": "string"},
        "reason": {"enum": ["stop", None]},
        "score": {"type": "integer"},
        "parts": {"type": "array", "items": TEXT},
    }
)


def changed(name: str, value: Any) -> dict[str, Any]:
    ours = copy.deepcopy(OURS)
    ours["properties"][name] = value
    return ours


def wrong(ours: dict[str, Any]) -> list[str]:
    return sorted(compare(ours, schema_of(Answer)).wrong)


def test_what_fits() -> None:
    found = compare(OURS, schema_of(Answer))
    assert found.wrong == found.added == found.not_always == set()
    assert found.nullable == {"Answer.reason"}
    assert found.unsent == {"Answer.note", "Call"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", {"type": ["string", "null"]}, "Answer.id: it may not be null"),
        ("id", {"type": "integer"}, "Answer.id: it may not be 'integer', but string"),
        ("reason", {"enum": ["stop", "tool"]}, "Answer.reason: it may not be 'tool', but length, null, stop"),
        ("reason", {"type": "string"}, "Answer.reason: it may not be 'string', but length, null, stop"),
        ("score", {}, "Answer.score: it may not be 'any', but number"),
        ("parts", TEXT, "Answer.parts: it may not be an object"),
        ("parts", {"type": "array", "items": {"type": "object"}}, "Text: ours may be any object"),
        (
            "parts",
            {"type": "array", "items": schema({"type": {"const": "text"}})},
            "Text.text: it is always there, but ours need not have it",
        ),
    ],
)
def test_what_does_not(name: str, value: Any, message: str) -> None:
    assert wrong(changed(name, value)) == [message]


def test_required_fields() -> None:
    assert wrong({**OURS, "required": ["reason", "score", "parts"]}) == [
        "Answer.id: it is always there, but ours need not have it"
    ]
    assert compare({**OURS, "required": ["id", "score", "parts"]}, schema_of(Answer)).not_always == {"Answer.reason"}


def test_kinds_of_objects() -> None:
    call = schema({"type": {"const": "call"}, "name": {"type": "string"}, "index": {"type": "integer"}})
    found = compare(changed("parts", {"type": "array", "items": {"oneOf": [TEXT, call]}}), schema_of(Answer))
    assert found.wrong == set()
    assert found.added == {"Call.index"}
    assert found.unsent == {"Answer.note", "Call.arguments"}


def test_references_and_merged_parts() -> None:
    parts = {"type": "array", "items": {"$ref": "#/$defs/Ours"}}
    halves = [schema({"type": {"const": "text"}}), schema({"text": {"type": ["string", "null"]}})]
    ours = {**changed("parts", parts), "$defs": {"Ours": {"allOf": halves}}}
    assert wrong(ours) == ["Text.text: it may not be null"]


def test_the_tables() -> None:
    told: dict[str, set[str]] = {"nullable": {"Answer.reason"}, "unsent": {"Answer.note", "Call"}}
    check("pydantic", OURS, Answer, **told)
    with pytest.raises(AssertionError, match=r"unsent: Call\n    -> send it"):
        check("pydantic", OURS, Answer, **{**told, "unsent": {"Answer.note"}})
    with pytest.raises(AssertionError, match=r"added, says this test, but not so any more: Answer.extra\n    -> take"):
        check("pydantic", OURS, Answer, **told, added={"Answer.extra"})
    with pytest.raises(AssertionError, match=r"wrong: Answer.id: it may not be null\n    -> make the wire struct"):
        check("pydantic", changed("id", {"type": ["string", "null"]}), Answer, **told)
