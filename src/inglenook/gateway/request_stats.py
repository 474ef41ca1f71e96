"""What the router counts of each back end: requests, tokens, latencies. server/metrics.py prints it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from inglenook.types import Delta, Timings, Usage

# Upper bounds in seconds, those of vLLM, so that its dashboards fit.
FIRST_TOKEN_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
)  # fmt: skip
INTER_TOKEN_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_BOUNDS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
)  # fmt: skip


class Histogram:
    """Counts of observations up to each bound; the last count is of those above all bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count


@dataclass
class RequestStats:
    """Counters of one back end since the start. `finished` is by finish reason, or abort, refused, error."""

    num_running: int = 0
    num_prompt_tokens: int = 0
    num_generation_tokens: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    first_token_s: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_BOUNDS))
    inter_token_s: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_BOUNDS))
    request_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_BOUNDS))


class RequestTimer:
    """Follows one request's deltas and writes what it sees into the stats. Times are in seconds of one clock."""

    def __init__(self, stats: RequestStats, now_s: float) -> None:
        self._stats = stats
        self._start_s = now_s
        self._last_token_s: dict[int, float] = {}  # by choice
        self._first_token_s: float | None = None
        self._num_tokens = 0
        self._has_usage = False
        stats.num_running += 1

    def see(self, delta: Delta, now_s: float) -> None:
        stats = self._stats
        num_tokens = len(delta.token_ids)
        if num_tokens:
            self._num_tokens += num_tokens
            last_s = self._last_token_s.get(delta.index)
            if last_s is not None:
                stats.inter_token_s.observe((now_s - last_s) / num_tokens, num_tokens)
            elif self._first_token_s is None:
                self._first_token_s = now_s
                stats.first_token_s.observe(now_s - self._start_s)
            self._last_token_s[delta.index] = now_s
        if delta.finish_reason is not None:
            stats.finished[delta.finish_reason] += 1
        if delta.usage is not None:
            self._has_usage = True
            stats.num_prompt_tokens += delta.usage.prompt_tokens
            stats.num_generation_tokens += delta.usage.completion_tokens

    def timings(self, now_s: float, usage: Usage) -> Timings:
        """Of an answer that came in one piece, its time shared out by tokens: clients divide by both."""
        total_s = now_s - self._start_s
        if self._first_token_s not in (None, now_s):
            prompt_s = self._first_token_s - self._start_s
        else:
            num_computed = usage.prompt_tokens - usage.cached_tokens
            prompt_s = total_s * num_computed / max(num_computed + usage.completion_tokens, 1)
        return Timings(prompt_s, total_s - prompt_s)

    def end(self, now_s: float, *, failure: str | None) -> None:
        """`failure` is abort, refused or error; None for a request that came to its end."""
        stats = self._stats
        stats.num_running -= 1
        if failure is None:
            stats.request_s.observe(now_s - self._start_s)
        else:
            stats.finished[failure] += 1
        if not self._has_usage:
            stats.num_generation_tokens += self._num_tokens
