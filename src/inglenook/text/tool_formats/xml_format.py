"""The base of formats that write each argument between marks of its own: strings as they are, other values as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from inglenook.errors import UnsupportedParameterError
from inglenook.lark import CallBlock, Lark, json_value, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.parameters import Parameter, TextRule, parameters
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser, read_calls
from inglenook.text.tool_formats.xml_reader import XmlMarks, read_xml_call
from inglenook.types import Tool

_ANY = "XML_ANY"
_RULES = (f"{_ANY}: /(?s:.*)/",)


@dataclass(frozen=True)
class XmlFormat:
    """`mark` `behind_mark` CALL... `mark_end`, where a call is what `xml` says.

    A template of the family has all of `shown_by`. Without `has_many` there is one call behind each mark.
    """

    name: str
    mark: str
    mark_end: str
    xml: XmlMarks
    shown_by: tuple[str, ...]
    special_tokens: frozenset[str] = frozenset()
    behind_mark: str = ""
    has_many: bool = False
    is_mark_optional: bool = False  # models leave it out

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return all(text in template for text in self.shown_by)

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        rules = list(_RULES)
        choices = []
        for index, tool in enumerate(tools):
            parts = [literal(f"{tool.name}{self.xml.behind_name}", special_tokens)]
            for number, parameter in enumerate(self._parameters(tool)):
                key = literal(f"{self.xml.key_begin}{parameter.name}{self.xml.key_end}", special_tokens)
                value = self._value(parameter, f"{index}_{number}", special_tokens, rules)
                parts.append(f"{key} {value}" if parameter.is_required else f"({key} {value})?")
            choices.append(" ".join((*parts, literal(self.xml.end, special_tokens))))
        begin = literal(self.xml.begin, special_tokens)
        call = f"{begin} ({' | '.join(choices)})"
        more = f"({call})*" if self.has_many and is_parallel else ""
        behind_mark = literal(self.behind_mark, special_tokens)
        body = " ".join(filter(None, (behind_mark, call, more, literal(self.mark_end, special_tokens))))
        return (CallBlock(self.mark, Lark(body, tuple(rules))),)

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader()
        known = {tool.name: self._parameters(tool) for tool in tools}
        read_one = partial(read_xml_call, reader, self.xml, known)

        def marked() -> Reading[None]:
            num_calls = reader.num_calls
            while True:
                yield from reader.spaces()
                start, num_drops = reader.position, reader.num_drops
                if not (yield from read_one()):
                    break
                if not self.has_many:
                    yield from reader.spaces()
                    start, num_drops = reader.position, reader.num_drops
                    break
            if reader.num_drops > num_drops:  # a call that broke off
                return
            reader.rewind(start)
            if reader.num_calls > num_calls and self.mark_end and (yield from reader.take(self.mark_end)):
                reader.drop()

        def unmarked() -> Reading[None]:
            reader.rewind()
            yield from marked()

        ways = {self.mark: marked}
        if self.is_mark_optional:
            ways[self.xml.begin.strip()] = unmarked
        return ReadingParser(reader, read_calls(reader, ways))

    def _parameters(self, tool: Tool) -> tuple[Parameter, ...]:
        found = []
        for parameter in parameters(tool, self.name):
            name, rule = parameter.name, parameter.text
            if not name or name != name.strip() or any(character in name for character in '<>"\n'):
                raise UnsupportedParameterError(
                    f"The tool {tool.name[:64]!r} has a parameter {name[:64]!r}; this model's format ({self.name}) "
                    "can't write a name that is empty, has spaces around it, or <, >, \" or a line end in it.",
                    param="tools",
                )
            if rule is not None and any(self._value_end in choice for choice in rule.choices or ()):
                parameter = replace(parameter, text=None)
            found.append(parameter)
        return tuple(found)

    @property
    def _value_end(self) -> str:
        return self.xml.value_end.strip()

    def _value(self, parameter: Parameter, number: str, special_tokens: Mapping[str, int], rules: list[str]) -> str:
        """An expression for a value with what ends it."""
        end = literal(self.xml.value_end, special_tokens)
        rule = parameter.text
        if rule is None:
            rules.append(f"value_{number}: {json_value(parameter.schema)}")
            return f"value_{number} {end}"
        terminal = f"TEXT_{number}"
        text = _text(rule, self._value_end)
        if any(name in self.xml.value_end for name in special_tokens):
            rules.append(f"{terminal}: {text}")
            return f"{terminal} {end}"
        # The end is a part of it, since a text can begin as the end does.
        rules.append(f"{terminal}: ({text}) {end}")
        return terminal


def _text(rule: TextRule, end: str) -> str:
    """An expression for the terminal of a text in which its end doesn't occur."""
    if rule.choices is not None:
        texts = [literal(choice, {}) or '""' for choice in rule.choices]
    else:
        parts = [_ANY, f"~({_ANY} {literal(end, {})} {_ANY})"]
        if rule.min_length or rule.max_length is not None:
            most = "" if rule.max_length is None else rule.max_length
            parts.append(f"/(?s:.{{{rule.min_length},{most}}})/")
        texts = [f"({' & '.join(parts)})"]
    return " | ".join([*texts, '"null"'] if rule.is_nullable else texts)
