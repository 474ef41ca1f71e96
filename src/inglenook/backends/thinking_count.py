"""How many of an answer's tokens are thinking: those of the thoughts and of the marks around them."""

from __future__ import annotations

from inglenook.backends.answer_parsers import WithoutReasoning
from inglenook.text.output import OutputParser
from inglenook.text.reasoning_parser import ThinkingParser


class ThinkingCount:
    """Told of every piece of text once `parser` has read it."""

    def __init__(self, parser: OutputParser | None) -> None:
        inner = parser.parser if isinstance(parser, WithoutReasoning) else parser
        self._parser = inner if isinstance(inner, ThinkingParser) else None
        self._phase = "answer" if self._parser is None else self._parser.phase
        self._num_undecided = 0  # tokens that may be the beginning of a mark
        self.num_tokens = 0

    def see(self, num_tokens: int) -> None:
        if self._parser is None:
            return
        before, self._phase = self._phase, self._parser.phase
        if before == "thinking" and self._phase != "thinking":
            if self._parser.has_end_mark:
                self.num_tokens += num_tokens
            elif self._phase == "undecided":
                self._num_undecided = num_tokens
                return
        elif self._phase == "thinking":
            self.num_tokens += num_tokens + self._num_undecided
        elif self._phase == "undecided" and before == "undecided":
            self._num_undecided += num_tokens
            return
        self._num_undecided = 0
