"""The base of formats with a section of calls: each a name and JSON arguments between marks of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inglenook.lark import CallBlock, Lark, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.json_reader import read_arguments
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser, read_calls
from inglenook.text.tool_formats.schemas import arguments_rule
from inglenook.types import Tool


@dataclass(frozen=True)
class SectionFormat:
    """`section` (`begin` NAME `behind_name` ARGUMENTS `end`)... `section_end`.

    `number` matches what stands between the name and `behind_name`: then `id_head`, the name and it are the call's id.
    A template of the family has all of `marks`.
    """

    name: str
    section: str
    begin: str
    behind_name: str
    end: str
    section_end: str
    marks: tuple[str, ...]
    special_tokens: frozenset[str]
    separator: str = ""
    number: str = ""
    id_head: str = ""

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return all(mark in template for mark in self.marks)

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        def text(text: str) -> str:
            return literal(text, special_tokens)

        rules = [arguments_rule(tool, index) for index, tool in enumerate(tools)]
        number = f"/{self.number}/" if self.number else ""
        choices = (
            " ".join(filter(None, (literal(tool.name, {}), number, text(self.behind_name), rule, text(self.end))))
            for tool, (rule, _) in zip(tools, rules, strict=True)
        )
        call = f"{text(self.begin)} ({' | '.join(choices)})"
        more = f"({text(self.separator)} {call})*" if is_parallel else ""
        body = " ".join(filter(None, (call, more, text(self.section_end))))
        return (CallBlock(self.section, Lark(body, tuple(rule for _, rule in rules))),)

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader()
        names = frozenset(tool.name for tool in tools)

        def section() -> Reading[None]:
            while True:
                yield from reader.spaces()
                start, num_drops = reader.position, reader.num_drops
                if not (yield from self._read_call(reader, names)):
                    break
            if reader.num_drops > num_drops:  # a call that broke off
                return
            reader.rewind(start)
            if (yield from reader.take(self.section_end)):
                reader.drop()

        def call() -> Reading[None]:
            reader.rewind()
            yield from section()

        # Models leave out what opens the section.
        return ReadingParser(reader, read_calls(reader, {self.section: section, self._call_mark: call}))

    @property
    def _call_mark(self) -> str:
        """The first special token of `begin`."""
        found = re.match("<[^>]+>", self.begin)
        assert found
        return found[0]

    def _read_call(self, reader: AnswerReader, names: frozenset[str]) -> Reading[bool]:
        if not (yield from reader.take(self.begin)):
            return False
        name = yield from reader.take_one(*names)
        if name is None:
            return False
        start = reader.position
        if self.number:
            while (yield from reader.peek()).isdigit() or (yield from reader.peek()) == ":":
                reader.skip(1)
        number = reader.read_from(start)
        for part in self.behind_name.split():
            yield from reader.spaces()
            if not (yield from reader.take(part)):
                return False
        yield from reader.spaces()
        if not (yield from read_arguments(reader, name, self.id_head + name + number if number else None)):
            return False
        reader.drop()
        for part in self.end.split():
            yield from reader.spaces()
            if not (yield from reader.take(part)):
                return False
            reader.drop()
        return True
