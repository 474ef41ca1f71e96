"""How long an answer takes, for dialects that say so."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from inglenook.dialects.ollama import Durations
from inglenook.types import Delta


class Stopwatch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter_ns()
        self._first: int | None = None
        self._last = self._start

    async def follow(self, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        """The same deltas."""
        async with aclosing(deltas):
            async for delta in deltas:
                self._last = time.perf_counter_ns()
                self._first = self._first or self._last
                yield delta

    def durations(self) -> Durations:
        first = self._first or self._last
        return Durations(time.perf_counter_ns() - self._start, first - self._start, self._last - first)
