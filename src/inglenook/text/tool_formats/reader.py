"""Reading an answer while it comes, as if all of it were there: what the parsers of families are written on.

A family reads with generators, which wait (yield) where the text so far ends:

    if (yield from reader.take("<tool_call>")): ...

What was read is *held* until the family says what it is: content, arguments, or the format's own marks, which go.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Generator, Mapping
from typing import TypeAlias, TypeVar

from inglenook.text.output import ParsedText
from inglenook.types import ToolCallDelta

T = TypeVar("T")
Reading: TypeAlias = Generator[None, None, T]


def new_call_id() -> str:
    return "call_" + secrets.token_hex(12)


class AnswerReader:
    """The text that was neither given out nor dropped, and how far it was read.

    Spaces and line ends at the beginning of an answer and behind a call are content only if other content follows
    them: before a call, or at the end, they belong to the format.
    """

    def __init__(self, new_id: Callable[[], str] = new_call_id) -> None:
        self._new_id = new_id
        self._text = ""
        self._is_ended = False
        self._is_passing = False  # what is read goes into the arguments at once
        self._is_apart = True  # no content since the beginning, or since a call
        self._content: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._ids: set[str] = set()
        self.position = 0  # in the held text: what comes next
        self.num_calls = 0
        self.num_drops = 0  # how often held text was found to be the format's

    # --- for the parser ----------------------------------------------------------------------------

    def add(self, text: str) -> None:
        self._text += text

    def end(self) -> None:
        self._is_ended = True

    def collect(self) -> ParsedText:
        """What has become sure since the last time."""
        parsed = ParsedText(content="".join(self._content), tool_calls=tuple(_joined(self._calls)))
        self._content, self._calls = [], []
        return parsed

    def release(self) -> None:
        """Give out what is held as content: nobody will read on."""
        self.position = len(self._text)
        self.give()

    # --- reading -----------------------------------------------------------------------------------

    def peek(self, num: int = 1) -> Reading[str]:
        """The next characters; fewer where the text ends."""
        while len(self._text) < self.position + num and not self._is_ended:
            yield from self._wait()
        return self._text[self.position : self.position + num]

    def skip(self, num: int) -> None:
        """Go past characters that were peeked at."""
        self.position += num
        assert self.position <= len(self._text)

    def read_from(self, position: int) -> str:
        """What was read since then."""
        return self._text[position : self.position]

    def take(self, text: str) -> Reading[bool]:
        """Go past exactly this text, if it is what comes next. Known as soon as a character differs."""
        return (yield from self.take_one(text)) is not None

    def take_one(self, *texts: str) -> Reading[str | None]:
        """Go past the longest of these texts that comes next."""
        while True:
            so_far = self._text[self.position : self.position + max(map(len, texts))]
            is_open = not self._is_ended and any(len(text) > len(so_far) and text.startswith(so_far) for text in texts)
            if not is_open:
                taken = max((text for text in texts if so_far.startswith(text)), key=len, default=None)
                self.position += len(taken or "")
                return taken
            yield from self._wait()

    def spaces(self) -> Reading[None]:
        """Go past spaces and line ends."""
        while (yield from self.peek()).isspace():
            self.position += 1

    def match(self, pattern: re.Pattern[str]) -> str:
        """Go past what the pattern matches of the text that is there already."""
        found = pattern.match(self._text, self.position)
        text = found[0] if found else ""
        self.position += len(text)
        return text

    def piece_before(self, *marks: str) -> Reading[str]:
        """Go past text up to the first of these marks, as far as it is there; "" where a mark, or nothing, is next."""
        while True:
            text = self._text[self.position :]
            starts = [start for mark in marks if (start := text.find(mark)) >= 0]
            end = min(starts) if starts else len(text) if self._is_ended else len(text) - _num_open(text, marks)
            if end or starts or self._is_ended:
                self.position += end
                return text[:end]
            yield from self._wait()

    def text_before(self, *marks: str) -> Reading[str]:
        """Go past all text up to the first of these marks, or up to the end."""
        start = self.position
        while (yield from self.piece_before(*marks)):
            pass
        return self.read_from(start)

    def content_before(self, *marks: str) -> Reading[str]:
        """Give out content up to the first of these marks and go past that: which it was; "" at the end of the text.

        The mark stays held, with spaces that are content only if it turns out to be.
        """
        assert not self.position, "held text has been forgotten"
        while True:
            if self._is_apart:
                yield from self.spaces()
            found = yield from self.take_one(*marks)
            if found is not None:
                return found
            if not (yield from self.piece_before(*marks)):
                self.drop() if self.num_calls else self.give()
                return ""
            self.give()

    # --- what it is --------------------------------------------------------------------------------

    def give(self) -> None:
        """What is held and was read is content."""
        if self.position:
            self._content.append(self._text[: self.position])
            self._is_apart = False
        self._forget()

    def drop(self) -> None:
        """What is held and was read was the format's."""
        self.num_drops += self.position > 0
        self._forget()

    def rewind(self, position: int = 0) -> None:
        self.position = position

    def begin_call(self, name: str, call_id: str | None = None) -> None:
        """A call begins; what was read up to here was the format's. `call_id`: what the model calls it."""
        self.drop()
        if call_id is None or call_id in self._ids:
            call_id = self._new_id()
        self._ids.add(call_id)
        self._calls.append(ToolCallDelta(self.num_calls, call_id, name))
        self.num_calls += 1
        self._is_apart = True

    def add_arguments(self, text: str) -> None:
        """A piece of the JSON text of the last call's arguments."""
        assert self.num_calls
        if text:
            self._calls.append(ToolCallDelta(self.num_calls - 1, arguments=text))

    def pass_arguments(self, reading: Reading[T]) -> Reading[T]:
        """What this reads is the arguments, as it is."""
        self.drop()
        self._is_passing = True
        result = yield from reading
        self._pass()
        self._is_passing = False
        return result

    def _pass(self) -> None:
        self.add_arguments(self._text[: self.position])
        self._forget()

    def _forget(self) -> None:
        self._text = self._text[self.position :]
        self.position = 0

    def _wait(self) -> Reading[None]:
        if self._is_passing:
            self._pass()
        yield


class ReadingParser:
    """An OutputParser whose work a generator does. What that leaves, when it stops early, is content."""

    def __init__(self, reader: AnswerReader, reading: Reading[None]) -> None:
        self._reader = reader
        self._reading = reading

    def push(self, text: str) -> ParsedText:
        self._reader.add(text)
        if next(self._reading, self) is self:
            self._reader.release()
        return self._reader.collect()

    def finish(self) -> ParsedText:
        self._reader.end()
        for _ in self._reading:
            raise AssertionError("waits for text that can't come")
        self._reader.release()
        return self._reader.collect()


def read_calls(reader: AnswerReader, ways: Mapping[str, Callable[[], Reading[None]]]) -> Reading[None]:
    """Content with calls in it. Behind each of these marks its reading goes over what the format has there.

    Where that drops nothing, the mark is content, and what follows it is looked at anew; so is what it leaves held
    at its end. The mark "" stands for the beginning of the answer.
    """
    ways = dict(ways)
    if at_beginning := ways.pop("", None):
        yield from reader.spaces()
        yield from at_beginning()
        reader.rewind()
    if not ways:
        return
    while mark := (yield from reader.content_before(*ways)):
        num_drops, behind = reader.num_drops, reader.position
        yield from ways[mark]()
        if reader.num_drops == num_drops:
            reader.rewind(behind)
            reader.give()
        else:
            reader.rewind()


def _num_open(text: str, marks: tuple[str, ...]) -> int:
    """The length of the longest end of the text with which one of the marks can begin."""
    for num in range(min(len(text), max(map(len, marks)) - 1), 0, -1):
        if any(mark.startswith(text[-num:]) for mark in marks):
            return num
    return 0


def _joined(calls: list[ToolCallDelta]) -> list[ToolCallDelta]:
    """Neighbouring pieces of the same arguments as one."""
    joined: list[ToolCallDelta] = []
    for delta in calls:
        last = joined[-1] if joined else None
        if last is not None and last.index == delta.index and last.id is None and delta.id is None:
            joined[-1] = ToolCallDelta(delta.index, arguments=last.arguments + delta.arguments)
        else:
            joined.append(delta)
    return joined
