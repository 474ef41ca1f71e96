"""The base of formats that write calls as JSON, {"name": ..., "arguments": {...}}, alone or in a list."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from inglenook.lark import CallBlock, Lark, literal
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.json_reader import read_call
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser, new_call_id, read_calls
from inglenook.text.tool_formats.schemas import arguments_rule
from inglenook.types import Tool


@dataclass(frozen=True)
class Frame:
    """What stands around calls. Spaces and line ends in it may be others in what is read, or be missing."""

    mark: str  # that which can't be anything else; "": the answer begins with the call itself
    begin: str = ""  # between the mark and the calls
    end: str = ""
    is_list: bool = False  # the calls are a JSON list
    separator: str = ""  # between calls that aren't a list; "": one call in each frame

    @property
    def opener(self) -> str:
        return "[" if self.is_list and not self.mark.endswith("[") else ""

    @property
    def closer(self) -> str:
        return "]" if self.is_list else ""

    @property
    def between(self) -> str:
        return ", " if self.is_list else self.separator


@dataclass(frozen=True)
class JsonFormat:
    """A family whose calls are JSON objects.

    `marks` are texts of its templates; one of them is enough to know it. The model may write any of the frames.
    """

    name: str
    frames: tuple[Frame, ...]
    marks: tuple[str, ...] = ()
    special_tokens: frozenset[str] = frozenset()
    name_key: str = "name"
    arguments_key: str = "arguments"
    id_key: str = ""  # of a number that comes before the name
    new_id: Callable[[], str] = new_call_id

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return any(mark in template for mark in self.marks)

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        return tuple(self._block(frame, tools, special_tokens, is_parallel) for frame in self.frames)

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader(self.new_id)
        names = frozenset(tool.name for tool in tools)
        ways = {frame.mark: partial(read_frame, reader, frame, names) for frame in self.frames}
        return ReadingParser(reader, read_calls(reader, ways))

    def _block(
        self, frame: Frame, tools: Sequence[Tool], special_tokens: Mapping[str, int], is_parallel: bool
    ) -> CallBlock:
        rules = [arguments_rule(tool, index) for index, tool in enumerate(tools)]
        calls = [
            f"{literal(self._name_and_key(tool), {})} {rule} {literal('}', {})}"
            for tool, (rule, _) in zip(tools, rules, strict=True)
        ]
        head, call = self._head(), f"({' | '.join(calls)})"
        begin = literal(frame.begin + frame.opener, special_tokens)
        if frame.begin == " ":  # some tokenizers write it, others don't
            begin = f'" "? {literal(frame.opener, special_tokens)}'
        parts = [begin, head, call] if frame.mark else [call]
        if frame.between and is_parallel:
            parts.append(f"({literal(frame.between, special_tokens)} {head} {call})*")
        parts.append(literal(frame.closer + frame.end, special_tokens))
        body = Lark(" ".join(filter(None, parts)), tuple(text for _, text in rules))
        trigger = frame.mark or f'{frame.begin}{frame.opener}{{"{self.name_key}": "'
        return CallBlock(trigger, body, is_first=not frame.mark)

    def _head(self) -> str:
        """An expression for what comes before a call's name."""
        to_name = f'"{self.name_key}": "'
        if not self.id_key:
            return literal("{" + to_name, {})
        to_id, to_name = f'{{"{self.id_key}": "', f'", {to_name}'
        return f"{literal(to_id, {})} /[0-9]+/ {literal(to_name, {})}"

    def _name_and_key(self, tool: Tool) -> str:
        return f'{json.dumps(tool.name, ensure_ascii=False)[1:]}, "{self.arguments_key}": '


def read_frame(reader: AnswerReader, frame: Frame, names: Collection[str]) -> Reading[None]:
    """Go past the calls behind a frame's mark, and past what ends it, as far as that is there.

    A single call may stand where a list should.
    """
    yield from reader.spaces()
    for part in frame.begin.split():
        if not (yield from reader.take(part)):
            return
        yield from reader.spaces()
    is_alone = frame.opener and not (yield from reader.take(frame.opener))
    yield from reader.spaces()
    while (yield from read_call(reader, names)):
        yield from reader.spaces()
        if is_alone or not frame.between or not (yield from reader.take(frame.between.strip())):
            break
        yield from reader.spaces()
    else:
        return
    for part in ("" if is_alone else frame.closer, *frame.end.split()):
        yield from reader.spaces()
        if not (yield from reader.take(part)):
            return
        reader.drop()
