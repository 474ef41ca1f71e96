"""Reading calls whose arguments stand between marks, as the JSON object that they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inglenook.text.tool_formats.json_reader import read_value
from inglenook.text.tool_formats.parameters import Parameter
from inglenook.text.tool_formats.reader import AnswerReader, Reading

_PART = re.compile(r"<[^<>\s]*>?|[^<\s]+")  # of marks: between them there may be spaces
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True)
class XmlMarks:
    """`begin` NAME `behind_name` (`key_begin` KEY `key_end` VALUE `value_end`)... `end`.

    Line ends at the marks' ends may be missing in what is read, or be more. Those beside a value are a part of it, but
    one on each side where `key_end` ends in one.
    """

    begin: str
    behind_name: str
    key_begin: str
    key_end: str
    value_end: str
    end: str

    @property
    def is_lined(self) -> bool:
        return self.key_end.endswith("\n")


def read_xml_call(reader: AnswerReader, marks: XmlMarks, tools: Mapping[str, Sequence[Parameter]]) -> Reading[bool]:
    """Go past a call: whether it was whole."""
    if not (yield from _take_parts(reader, marks.begin)):
        return False
    name = yield from reader.take_one(*tools)
    if name is None or not (yield from _take_parts(reader, marks.behind_name)):
        return False
    yield from reader.spaces()
    mark = yield from reader.take_one(marks.key_begin, marks.end.strip())
    if mark is None:
        return False
    texts = {parameter.name: parameter.text for parameter in tools[name]}
    reader.begin_call(name)
    head = "{"
    while mark == marks.key_begin:
        key = yield from reader.text_before(_PART.findall(marks.key_end)[0])
        if not (yield from _take_parts(reader, marks.key_end)):
            return False
        reader.drop()
        reader.add_arguments(f"{head}{json.dumps(key.strip(), ensure_ascii=False)}: ")
        head = ", "
        if marks.is_lined and (yield from reader.take("\n")):
            reader.drop()
        rule = texts.get(key.strip())
        if rule is None:
            is_whole = yield from _read_json(reader, marks)
        elif rule.is_nullable and (yield from _read_null(reader, marks)):
            is_whole = True
        else:
            is_whole = yield from _read_text(reader, marks)
        if not is_whole:
            return False
        yield from reader.spaces()
        mark = yield from reader.take_one(marks.key_begin, marks.end.strip())
    if mark is None:
        return False
    reader.drop()
    reader.add_arguments("{}" if head == "{" else "}")
    return True


def _take_parts(reader: AnswerReader, text: str) -> Reading[bool]:
    for part in _PART.findall(text):
        yield from reader.spaces()
        if not (yield from reader.take(part)):
            return False
    return True


def _read_text(reader: AnswerReader, marks: XmlMarks) -> Reading[bool]:
    """A string as it comes."""
    end = marks.value_end.strip()
    reader.add_arguments('"')
    held = ""
    while piece := (yield from reader.piece_before(end)):
        reader.drop()
        text = held + piece
        held = "\n" if marks.is_lined and text.endswith("\n") else ""
        reader.add_arguments(json.dumps(text.removesuffix(held), ensure_ascii=False)[1:-1])
    if not (yield from reader.take(end)):
        return False
    reader.drop()
    reader.add_arguments('"')
    return True


def _read_null(reader: AnswerReader, marks: XmlMarks) -> Reading[bool]:
    if (yield from reader.take("null")):
        if marks.is_lined:
            yield from reader.take("\n")
        if (yield from reader.take(marks.value_end.strip())):
            reader.drop()
            reader.add_arguments("null")
            return True
    reader.rewind()
    return False


def _read_json(reader: AnswerReader, marks: XmlMarks) -> Reading[bool]:
    """A JSON value; another text up to the end is a string. What was cut off stays as it is."""
    end = marks.value_end.strip()
    yield from reader.spaces()
    start = reader.position
    is_value = yield from read_value(reader)
    value = reader.read_from(start)
    if is_value:
        yield from reader.spaces()
        if (yield from reader.take(end)):
            reader.drop()
            reader.add_arguments(value)
            return True
    reader.rewind()
    text = yield from reader.text_before(end)
    is_ended = yield from reader.take(end)
    reader.drop()
    if marks.is_lined:
        text = text.removesuffix("\n")
    if is_ended:
        reader.add_arguments(_PYTHON_WORDS.get(text.strip()) or json.dumps(text, ensure_ascii=False))
    else:
        reader.add_arguments(text.strip())
    return is_ended
