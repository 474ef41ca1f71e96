"""Answers that are written line by line, as editors want them: when they have enough."""

from __future__ import annotations

import time
from collections.abc import Callable


class LineLimits:
    """Ends a text where a further line begins with fewer blanks than `min_indent`, or is empty; and once it has a line
    break, where `max_s` seconds are over since the first token. The names for both are llama.cpp's: n_indent and
    t_max_predict_ms.
    """

    def __init__(self, min_indent: int, max_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_over = False
        self._min_indent = min_indent
        self._max_s = max_s
        self._clock = clock
        self._start_s: float | None = None
        self._has_line_break = False
        self._indent: int | None = None  # of the line that begins; None within a line, and in the first one

    def start(self) -> None:
        """A token has come: the time runs from the first one on."""
        if self._start_s is None:
            self._start_s = self._clock()

    def take(self, text: str) -> str:
        """What counts of a text's next piece. Sets `is_over` where it is the last one."""
        for position, character in enumerate(text):
            if self._indent is not None and character in " \t":
                self._indent += 1
                continue
            if self._indent is not None and self._indent < self._min_indent:
                self.is_over = True
                return text[:position]
            self._indent = None
            if character == "\n":
                self._indent, self._has_line_break = 0, True
        if self._has_line_break and self._max_s is not None and self._start_s is not None:
            self.is_over = self._clock() - self._start_s > self._max_s
        return text
