"""The JSON that parsers of calls read while it comes, beside the library's."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from inglenook.text.tool_formats.json_reader import read_value
from inglenook.text.tool_formats.reader import AnswerReader

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def read(text: str, cuts: int = 1) -> tuple[bool, str]:
    """Whether a value was whole, and what was read; the text comes in pieces of so many characters."""
    reader = AnswerReader()
    reading = read_value(reader)
    try:
        for start in range(0, len(text), cuts):
            reader.add(text[start : start + cuts])
            next(reading)
        reader.end()
        next(reading)
    except StopIteration as stop:
        return stop.value, reader.read_from(0)
    raise AssertionError("waits for more than there is")


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 5), st.sampled_from(["", "}", ", 1", " x"]))
def test_values_are_read_to_their_end(value: Any, indent: int | None, ascii: bool, cuts: int, behind: str) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    assert read(text + (" " if is_number else "") + behind, cuts) == (True, text)


@given(VALUES, st.data())
@example('{"a": 1}', None)
def test_broken_values_are_refused(value: Any, data: st.DataObject | None) -> None:
    text = json.dumps(value)
    if data is not None:
        at = data.draw(st.integers(0, len(text)))
        text = (
            text[:at] + data.draw(st.sampled_from(['"', "{", "}", "]", ",", ":", "\\", "e", "-", "0", "."])) + text[at:]
        )
    is_whole, taken = read(text, 3)
    try:
        json.loads(taken)
        is_json = True
    except ValueError:
        is_json = False
    assert is_whole is is_json


def test_depth_costs_no_stack() -> None:
    text = "[" * 50_000 + "]" * 50_000
    assert read(text, 1000) == (True, text)
