"""Mistral: [TOOL_CALLS] before a list of calls (tokenizers v3 to v7), or before each call's name (v11 and later)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from inglenook.lark import CallBlock, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.json_format import Frame, JsonFormat, read_frame
from inglenook.text.tool_formats.json_reader import read_arguments
from inglenook.text.tool_formats.named_format import named_calls
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser, read_calls
from inglenook.types import Tool

_MARK = "[TOOL_CALLS]"
_LIST = Frame(_MARK, begin=" ", is_list=True)
_ID_CHARACTERS = string.ascii_letters + string.digits


def new_call_id() -> str:
    """As the templates demand it."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(9))


class Mistral:
    """`style` is what the grammar holds calls to; "": by the vocabulary. All styles are read."""

    special_tokens = frozenset((_MARK, "[ARGS]", "[CALL_ID]"))

    def __init__(self, name: str, style: str = "", marks: tuple[str, ...] = (_MARK,)) -> None:
        self.name = name
        self._style = style
        self._marks = marks

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return all(mark in template for mark in self._marks)

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        style = self._style or ("args" if "[ARGS]" in special_tokens else "list")
        if style == "list":
            return JsonFormat("", (_LIST,)).blocks(tools, special_tokens, is_parallel=is_parallel)
        behind_name = literal("[ARGS]", special_tokens)
        if style == "call_id":
            behind_name = f"{literal('[CALL_ID]', special_tokens)} /[a-zA-Z0-9]{{9}}/ {behind_name}"
        return (CallBlock(_MARK, named_calls(tools, behind_name)),)

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader(new_call_id)
        names = frozenset(tool.name for tool in tools)
        return ReadingParser(reader, read_calls(reader, {_MARK: partial(_read, reader, names)}))


FORMAT = Mistral("mistral")
ARGS = Mistral("mistral_args", "args", (_MARK, "[ARGS]"))
CALL_ID = Mistral("mistral_call_id", "call_id", (_MARK, "[ARGS]", "[CALL_ID]"))
LIST = Mistral("mistral_list", "list")


def _read(reader: AnswerReader, names: Collection[str]) -> Reading[None]:
    yield from reader.spaces()
    if (yield from reader.peek()) == "[":
        yield from read_frame(reader, _LIST, names)
        return
    name = yield from reader.text_before("[CALL_ID]", "[ARGS]", "{", _MARK)
    if name.strip() not in names:
        return
    if (yield from reader.take("[CALL_ID]")):
        yield from reader.text_before("[ARGS]", "{", _MARK)
    yield from reader.take("[ARGS]")
    yield from reader.spaces()
    if (yield from read_arguments(reader, name.strip())):
        reader.drop()
