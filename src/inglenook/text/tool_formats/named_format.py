"""The base of formats that write a call's name as plain text, and its arguments as JSON behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from inglenook.lark import CallBlock, Lark, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.json_reader import read_arguments
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser, new_call_id, read_calls
from inglenook.text.tool_formats.schemas import arguments_rule
from inglenook.types import Tool


@dataclass(frozen=True)
class NamedFormat:
    """A family whose calls are `mark` NAME `behind_name` ARGUMENTS `end`. `marks` are texts of its templates."""

    name: str
    mark: str
    behind_name: str
    end: str = ""
    marks: tuple[str, ...] = ()
    special_tokens: frozenset[str] = frozenset()
    new_id: Callable[[], str] = new_call_id

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return any(mark in template for mark in self.marks)

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        behind = literal(self.behind_name, special_tokens)
        return (CallBlock(self.mark, named_calls(tools, behind, literal(self.end, special_tokens))),)

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader(self.new_id)
        names = frozenset(tool.name for tool in tools)
        way = partial(read_named_call, reader, names, self.behind_name, self.end)
        return ReadingParser(reader, read_calls(reader, {self.mark: way}))


def named_calls(tools: Sequence[Tool], behind_name: str, end: str = "") -> Lark:
    """One call of any of these tools. `behind_name` and `end` are expressions."""
    calls, rules = [], []
    for index, tool in enumerate(tools):
        rule, text = arguments_rule(tool, index)
        rules.append(text)
        calls.append(" ".join(filter(None, (literal(tool.name, {}), behind_name, rule, end))))
    return Lark(f"({' | '.join(calls)})", tuple(rules))


def read_named_call(reader: AnswerReader, names: Collection[str], behind_name: str, end: str = "") -> Reading[None]:
    """Go past a call, and past what ends it, if it is there."""
    heads = {name + behind_name: name for name in names}
    head = yield from reader.take_one(*heads)
    if head is None:
        return
    yield from reader.spaces()
    if not (yield from read_arguments(reader, heads[head])):
        return
    reader.drop()
    yield from reader.spaces()
    if end and (yield from reader.take(end)):
        reader.drop()
