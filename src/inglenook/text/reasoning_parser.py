"""Splitting off an answer's thinking while it comes: what stands between two marks at the answer's beginning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from inglenook.text.output import OutputParser, ParsedText
from inglenook.text.tool_formats.reader import AnswerReader, Reading

_ALL = re.compile(".*", re.DOTALL)


@dataclass(frozen=True)
class Marks:
    """What thinking and answer stand between; line ends around them go with them.

    Behind the first of `begins` and `ends` are other spellings. What `interrupts` the thinking belongs to the answer.
    """

    begins: tuple[str, ...]
    ends: tuple[str, ...]
    interrupts: tuple[str, ...] = ()
    answer_begin: str = ""
    answer_end: str = ""


Phase = Literal["undecided", "thinking", "answer"]


class ThinkingParser:
    """Reads an answer, and hands on what is behind its thinking: to `rest`, or as content as it is.

    `phase` is where the text ends that was pushed so far. `has_end_mark`: the last thinking that ended was closed, and
    not broken off by the answer.
    """

    phase: Phase = "undecided"
    has_end_mark = False

    def __init__(self, rest: OutputParser | None) -> None:
        self._rest = rest
        self._reader = AnswerReader()
        self._parsed: list[ParsedText] = []
        self._reading = self._read()

    def push(self, text: str) -> ParsedText:
        self._reader.add(text)
        next(self._reading)
        return self._collect()

    def finish(self) -> ParsedText:
        self._reader.end()
        for _ in self._reading:
            raise AssertionError("waits for text that can't come")
        if self._rest is not None:
            self._parsed.append(self._rest.finish())
        return self._collect()

    def _read(self) -> Reading[None]:
        """Wait for text wherever that so far ends; put what was found into _parsed."""
        raise NotImplementedError

    def _give(self, text: str) -> None:
        if text:
            self._parsed.append(ParsedText(content=text) if self._rest is None else self._rest.push(text))

    def _collect(self) -> ParsedText:
        parsed, self._parsed = joined(self._parsed), []
        return parsed


class MarkedParser(ThinkingParser):
    """An answer that doesn't begin with thinking, in a prompt that didn't either, is content from the first character.

    Thinking that isn't closed is thinking up to the end.
    """

    def __init__(self, marks: Marks, rest: OutputParser | None, *, is_open: bool) -> None:
        super().__init__(rest)
        self._marks = marks
        self._is_open = is_open
        self.phase = "thinking" if is_open else "undecided"

    def _read(self) -> Reading[None]:
        reader, marks = self._reader, self._marks
        yield from reader.spaces()
        has_begun = (yield from reader.take_one(*marks.begins)) is not None
        reader.drop() if has_begun else reader.rewind()
        if has_begun or self._is_open:
            self.phase = "thinking"
            yield from self._think()
            self.phase = "answer"
            yield from self._skip_line_ends()
        self.phase = "answer"
        if marks.answer_begin:
            yield from reader.spaces()
            if (yield from reader.take(marks.answer_begin)):
                yield from self._skip_line_ends()
            else:
                reader.rewind()
        if marks.answer_end:
            yield from self._answer_before_end()
        while (yield from reader.peek()):
            self._give(reader.match(_ALL))
            reader.drop()

    def _think(self) -> Reading[None]:
        reader, marks = self._reader, self._marks
        line_ends, has_begun = "", False
        while piece := (yield from reader.piece_before(*marks.ends, *marks.interrupts)):
            reader.drop()
            piece = line_ends + (piece if has_begun else piece.lstrip("\n"))
            thought = piece.rstrip("\n")
            line_ends, has_begun = piece[len(thought) :], has_begun or bool(thought)
            self._parsed.append(ParsedText(reasoning=thought))
        if not (yield from reader.peek()):
            self._parsed.append(ParsedText(reasoning=line_ends))
        elif (yield from reader.take_one(*marks.ends)) is not None:
            self.has_end_mark = True
            reader.drop()

    def _answer_before_end(self) -> Reading[None]:
        """The mark is one only where the text ends behind it."""
        reader, held = self._reader, ""
        while (yield from reader.peek()):
            piece = yield from reader.piece_before(self._marks.answer_end)
            if not piece:
                yield from reader.take(self._marks.answer_end)
                yield from reader.spaces()
                if not (yield from reader.peek()):
                    reader.drop()
                    return
                piece = reader.read_from(0)
            reader.drop()
            text = held + piece
            answer = text.rstrip("\n")
            held = text[len(answer) :]
            self._give(answer)
        self._give(held)

    def _skip_line_ends(self) -> Reading[None]:
        while (yield from self._reader.peek()) == "\n":
            self._reader.skip(1)
        self._reader.drop()


def joined(pieces: Iterable[ParsedText]) -> ParsedText:
    pieces = tuple(pieces)
    return ParsedText(
        "".join(piece.reasoning for piece in pieces),
        "".join(piece.content for piece in pieces),
        tuple(delta for piece in pieces for delta in piece.tool_calls),
    )
