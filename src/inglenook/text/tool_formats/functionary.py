"""Functionary: v3.1 puts calls between tags, v3.2 writes to recipients, of which `all` is the user."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from inglenook.lark import CallBlock, Lark, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.named_format import NamedFormat, named_calls, read_named_call
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser, read_calls
from inglenook.text.tool_formats.schemas import arguments_rule
from inglenook.types import Tool

V31 = NamedFormat(
    name="functionary_v3.1",
    mark="<function=",
    behind_name=">",
    end="</function>",
    marks=("<{start_tag}={function_name}>", "version=v3-llama3.1"),
)


class _V32:
    """The prompt ends in >>>, so an answer begins with its first recipient."""

    name = "functionary_v3.2"
    special_tokens: frozenset[str] = frozenset()

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return ">>>all" in template

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        firsts = []
        for index, tool in enumerate(tools):
            rule, text = arguments_rule(tool, index)
            firsts.append(CallBlock(f"{tool.name}\n", Lark(rule, (text,)), is_first=True))
        return (*firsts, CallBlock(">>>", named_calls(tools, literal("\n", {}))))

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader()
        way = partial(_read_recipient, reader, frozenset(tool.name for tool in tools))
        return ReadingParser(reader, read_calls(reader, {"": way, ">>>": way}))


V32 = _V32()


def _read_recipient(reader: AnswerReader, names: Collection[str]) -> Reading[None]:
    if (yield from reader.take("all\n")):
        reader.drop()
    else:
        yield from read_named_call(reader, names, "\n")
