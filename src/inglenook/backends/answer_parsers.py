"""What a request asks of an answer's text beside its format: thinking left out, content mended as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from inglenook.text.output import OutputParser, ParsedText


class WithoutReasoning:
    """Drops the thinking that `parser` splits off."""

    def __init__(self, parser: OutputParser) -> None:
        self.parser = parser

    def push(self, text: str) -> ParsedText:
        return replace(self.parser.push(text), reasoning="")

    def finish(self) -> ParsedText:
        return replace(self.parser.finish(), reasoning="")


class Mended:
    """Holds the content back to its end, and gives what `mend` makes of it. `parser`: None where all is content."""

    def __init__(self, parser: OutputParser | None, mend: Callable[[str], str]) -> None:
        self._parser = parser
        self._mend = mend
        self._content: list[str] = []

    def push(self, text: str) -> ParsedText:
        parsed = ParsedText(content=text) if self._parser is None else self._parser.push(text)
        self._content.append(parsed.content)
        return replace(parsed, content="")

    def finish(self) -> ParsedText:
        rest = ParsedText() if self._parser is None else self._parser.finish()
        content = "".join(self._content) + rest.content
        return replace(rest, content=self._mend(content) if content else "")
