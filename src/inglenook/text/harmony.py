"""Harmony, the format of GPT-OSS: messages <|start|>ROLE<|channel|>CHANNEL<|message|>BODY<|end|>, whose header may say
whom they are for (to=RECIPIENT). The prompt has the first message's <|start|> and role."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inglenook.text.output import OutputParser, ParsedText
from inglenook.text.reasoning_parser import ThinkingParser
from inglenook.text.tool_formats.reader import AnswerReader, Reading

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
END, CALL, RETURN = "<|end|>", "<|call|>", "<|return|>"
ENDS = (END, CALL, RETURN)
SPECIAL_TOKENS = frozenset((START, CHANNEL, MESSAGE, CONSTRAIN, *ENDS))

_ROLE = f"{START}assistant"
_STARTS = (START, CHANNEL, MESSAGE, " to=")
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")


@dataclass(frozen=True)
class Header:
    channel: str  # "": not said
    recipient: str  # "": the user


def read_header(reader: AnswerReader) -> Reading[Header | None]:
    """Go past a header that comes next, which stays held. None where there is none; then nothing was read.

    <|start|>assistant is one even if text follows at once.
    """
    begun = yield from reader.take_one(_ROLE, *_STARTS)
    if begun is None:
        return None
    behind = reader.position if begun == _ROLE else 0
    reader.rewind(behind)
    first = yield from reader.take_one(*_STARTS)
    if first is not None:
        text = "" if first == MESSAGE else (yield from reader.text_before(MESSAGE, START, *ENDS, "\n"))
        if first == MESSAGE or (yield from reader.take(MESSAGE)):
            channels, recipients = _CHANNEL_NAME.findall(first + text), _RECIPIENT.findall(first + text)
            return Header(channels[-1] if channels else "", recipients[-1] if recipients else "")
        reader.rewind(behind)
    return Header("", "") if behind else None


def body_piece(reader: AnswerReader) -> Reading[str]:
    """Go past text of a message as it comes; "" where it ends."""
    return (yield from reader.piece_before(*ENDS, START, CHANNEL))


class HarmonyParser(ThinkingParser):
    """Splits off the channel `analysis`. What is for the user goes on without its header, calls go on as they are."""

    def __init__(self, rest: OutputParser | None) -> None:
        super().__init__(rest)
        self._has_thought = False

    def _read(self) -> Reading[None]:
        reader = self._reader
        while (yield from reader.peek()):
            header = yield from read_header(reader)
            self.phase = "thinking" if header is not None and self._is_thought(header) else "answer"
            if header is None:
                yield from reader.take_one(*_STARTS)
                self._hand_on()
                yield from self._body()
            elif header.recipient:
                self._hand_on()
                yield from self._body()
                yield from reader.take_one(*ENDS)
                self._hand_on()
            elif self._is_thought(header):
                reader.drop()
                yield from self._thinking()
            else:
                reader.drop()
                yield from self._body()
            self.has_end_mark = (yield from reader.take_one(*ENDS)) is not None
            self.phase = "undecided"
            reader.drop()

    @staticmethod
    def _is_thought(header: Header) -> bool:
        return header.channel == "analysis" and not header.recipient

    def _thinking(self) -> Reading[None]:
        separator = "\n" if self._has_thought else ""
        while piece := (yield from body_piece(self._reader)):
            self._reader.drop()
            self._parsed.append(ParsedText(reasoning=separator + piece))
            separator, self._has_thought = "", True

    def _body(self) -> Reading[None]:
        while (yield from body_piece(self._reader)):
            self._hand_on()

    def _hand_on(self) -> None:
        """What was read and not dropped."""
        self._give(self._reader.read_from(0))
        self._reader.drop()
