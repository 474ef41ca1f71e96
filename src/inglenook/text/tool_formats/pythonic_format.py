"""The base of formats that write calls as Python does: [f(a=1, b="x"), g()]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from inglenook.errors import UnsupportedParameterError
from inglenook.lark import CallBlock, Lark, json_value, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.parameters import Parameter, parameters
from inglenook.text.tool_formats.python_reader import read_python_calls
from inglenook.text.tool_formats.reader import AnswerReader, ReadingParser, read_calls
from inglenook.types import Tool

_NAME = re.compile(r"\w+")


@dataclass(frozen=True)
class PythonicFormat:
    """`mark` `begin` CALL (`separator` CALL)... `end`. Without a mark an answer begins with its calls.

    A template of the family has one of `shown_by`.
    """

    name: str
    shown_by: tuple[str, ...]
    mark: str = ""
    begin: str = "["
    separator: str = ", "
    end: str = "]"
    special_tokens: frozenset[str] = frozenset()
    is_mark_optional: bool = False

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return any(text in template for text in self.shown_by)

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        rules: list[str] = []
        calls = [f"{literal(tool.name, {})} {self._call(tool, index, rules)}" for index, tool in enumerate(tools)]
        more = f"({literal(self.separator, {})} ({' | '.join(calls)}))*" if is_parallel else ""
        blocks = []
        if self.mark:
            end = literal(self.end, special_tokens)
            body = f"{literal(self.begin, special_tokens)} ({' | '.join(calls)}) {more} {end}"
            blocks.append(CallBlock(self.mark, Lark(body, tuple(rules))))
        if not self.mark or self.is_mark_optional:
            for index, tool in enumerate(tools):
                body = f'arguments_{index} ")" {more} "]"'
                blocks.append(CallBlock(f"[{tool.name}(", Lark(body, tuple(rules)), is_first=True))
        return tuple(blocks)

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader()
        names = frozenset(tool.name for tool in tools)
        ways = {}
        if self.mark:
            ways[self.mark] = partial(read_python_calls, reader, names, self.begin.strip(), self.end)
        if not self.mark or self.is_mark_optional:
            ways[""] = partial(read_python_calls, reader, names, "[", "]")
        return ReadingParser(reader, read_calls(reader, ways))

    def _call(self, tool: Tool, index: int, rules: list[str]) -> str:
        """What stands behind a tool's name. Its rules say what may follow before and behind the first argument."""
        known = parameters(tool, self.name)
        first, later = f"arguments_{index}", f"more_{index}"

        def rule(kind: str, number: int) -> str:
            return f"{kind}_{number}" if number else kind

        for number, parameter in enumerate(known):
            if not _NAME.fullmatch(parameter.name):
                raise UnsupportedParameterError(
                    f"The tool {tool.name[:64]!r} has a parameter {parameter.name[:64]!r}; this model's format "
                    f"({self.name}) can only write names of letters, digits and _.",
                    param="tools",
                )
            value = _value(parameter, f"{index}_{number}", rules)
            written = f"{literal(f'{parameter.name}=', {})} {value} {rule(later, number + 1)}"
            for kind, separator in ((first, ""), (later, '", " ')):
                without = "" if parameter.is_required else f" | {rule(kind, number + 1)}"
                rules.append(f"{rule(kind, number)}: {separator}{written}{without}")
        rules.append(f'{rule(first, len(known))}: ""')
        rules.append(f'{rule(later, len(known))}: ""')
        return f'"(" {first} ")"'


def _value(parameter: Parameter, number: str, rules: list[str]) -> str:
    """As JSON, but where Python's own words are all there is to it."""
    words = _words(parameter.schema)
    if words is not None:
        return words
    rules.append(f"value_{number}: {json_value(parameter.schema)}")
    return f"value_{number}"


def _words(schema: Mapping[str, Any]) -> str | None:
    if any(key in schema for key in ("enum", "const", "anyOf", "oneOf", "allOf", "not", "if", "$ref")):
        return None
    return {"boolean": '("True" | "False")', "null": '"None"'}.get(str(schema.get("type")))
