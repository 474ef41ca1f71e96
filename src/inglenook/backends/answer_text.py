"""The text of one choice on its way through an output parser, with the tokens that it came from."""

from __future__ import annotations

import json

from inglenook.engine.request import SampledToken
from inglenook.text.output import OutputParser, ParsedText


class AnswerText:
    """What a parser makes of a text. Tokens wait for as long as the parser gives out nothing.

    Without a parser all is content.
    """

    def __init__(self, parser: OutputParser | None) -> None:
        self._parser = parser
        self._waiting: list[SampledToken] = []
        self._last_call = -1
        self._last_arguments: list[str] = []

    def push(self, text: str, tokens: list[SampledToken]) -> tuple[ParsedText, list[SampledToken]] | None:
        """What a piece of text and its tokens add; None for nothing yet."""
        parsed = self._parse(text)
        if parsed.reasoning or parsed.content or parsed.tool_calls:
            return parsed, self._take(tokens)
        self._waiting += tokens
        return None

    def finish(self, text: str, tokens: list[SampledToken]) -> tuple[ParsedText, list[SampledToken]]:
        """The last piece, and all that was held back."""
        parsed = self._parse(text)
        if self._parser is not None:
            rest = self._follow(self._parser.finish())
            parsed = ParsedText(
                parsed.reasoning + rest.reasoning, parsed.content + rest.content, parsed.tool_calls + rest.tool_calls
            )
        return parsed, self._take(tokens)

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

    def _take(self, tokens: list[SampledToken]) -> list[SampledToken]:
        taken, self._waiting = self._waiting + tokens, []
        return taken
