"""The text of one choice on its way through an output parser, with the tokens that it came from."""

from __future__ import annotations

import json

from inglenook.backends.thinking_count import ThinkingCount
from inglenook.engine.request import SampledToken
from inglenook.text.output import OutputParser, ParsedText
from inglenook.text.reasoning_parser import joined


class AnswerText:
    """What a parser makes of a text. Tokens wait for as long as the parser gives out nothing.

    Without a parser all is content. `thinking` counts the tokens of thoughts.
    """

    def __init__(self, parser: OutputParser | None) -> None:
        self.thinking = ThinkingCount(parser)
        self._parser = parser
        self._parsed: list[ParsedText] = []  # what is to be given out
        self._waiting: list[SampledToken] = []
        self._last_call = -1
        self._last_arguments: list[str] = []

    def push(self, text: str, tokens: list[SampledToken]) -> None:
        """Take a piece of text with its tokens."""
        self._parsed.append(self._parse(text))
        self._waiting += tokens
        self.thinking.see(len(tokens))

    def release(self) -> tuple[ParsedText, list[SampledToken]] | None:
        """What the pieces so far add, and their tokens; None for nothing yet."""
        pieces, self._parsed = self._parsed, []
        parsed = pieces[0] if len(pieces) == 1 else joined(pieces)
        if parsed.reasoning or parsed.content or parsed.tool_calls:
            return parsed, self._take()
        return None

    def finish(self) -> tuple[ParsedText, list[SampledToken]]:
        """What is left when no piece follows."""
        if self._parser is not None:
            self._parsed.append(self._follow(self._parser.finish()))
        return joined(self._parsed), self._take()

    @property
    def has_whole_calls(self) -> bool:
        """There are calls, and the last one wasn't cut off."""
        if self._last_call < 0:
            return False
        try:
            json.loads("".join(self._last_arguments))
        except ValueError:
            return False
        return True

    def _parse(self, text: str) -> ParsedText:
        if self._parser is None or not text:
            return ParsedText(content=text)
        return self._follow(self._parser.push(text))

    def _follow(self, parsed: ParsedText) -> ParsedText:
        for piece in parsed.tool_calls:
            if piece.index != self._last_call:
                self._last_call, self._last_arguments = piece.index, []
            self._last_arguments.append(piece.arguments)
        return parsed

    def _take(self) -> list[SampledToken]:
        taken, self._waiting = self._waiting, []
        return taken
