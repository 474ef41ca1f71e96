"""A bound on a model's thinking: how many tokens of it there were, and when its end must come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ThinkingBudget:
    """At most `max_tokens` of thinking, then `end` is forced. The marks are as ReasoningFormat has them."""

    max_tokens: int
    begin: str
    end: str
    is_open: bool  # the prompt has begun the thinking


class ThinkingCounter:
    """Counts one sequence's thinking: from its begin mark, or from the start where the prompt has it, to its end mark.

    An answer that doesn't begin with the mark (but for white space) has no thinking.
    """

    def __init__(self, budget: ThinkingBudget, end_ids: Sequence[int], token_bytes: Callable[[int], bytes]) -> None:
        self._max_tokens = budget.max_tokens
        self._begin = budget.begin.encode()
        self._end = budget.end.encode()
        self._end_ids = list(end_ids)
        self._token_bytes = token_bytes
        self._num_tokens = 0
        self._began_at: int | None = 0 if budget.is_open else None  # number of tokens
        self._over_at: int | None = None
        # Up to the end of the thinking:
        self._ids: list[int] = []
        self._text = bytearray()
        self._text_ends: list[int] = []  # after each token

    def accept(self, token_ids: Sequence[int]) -> None:
        for token_id in token_ids:
            self._num_tokens += 1
            if self._over_at is None:
                self._ids.append(token_id)
                self._text += self._token_bytes(token_id)
                self._text_ends.append(len(self._text))
                self._look()

    def rollback(self, num_tokens: int) -> None:
        self._num_tokens -= num_tokens
        kept = self._num_tokens
        if self._over_at is not None and kept < self._over_at:
            self._over_at = None
        if self._began_at is not None and kept < self._began_at:
            self._began_at = None
        del self._ids[kept:], self._text_ends[kept:]
        del self._text[self._text_ends[-1] if self._text_ends else 0 :]

    def forced(self) -> list[int]:
        """What is left of the end mark's tokens, once the budget is spent."""
        if self._over_at is not None or self._began_at is None or self._num_tokens - self._began_at < self._max_tokens:
            return []
        for num_there in range(min(len(self._end_ids) - 1, len(self._ids)), 0, -1):
            if self._ids[-num_there:] == self._end_ids[:num_there]:
                return self._end_ids[num_there:]
        return self._end_ids

    def _look(self) -> None:
        if self._began_at is None:
            text = self._text.lstrip()
            if text.startswith(self._begin):
                self._began_at = self._num_tokens
            elif not self._begin.startswith(text):
                self._over_at = self._num_tokens
            return
        last = self._text_ends[-2] if len(self._text_ends) > 1 else 0
        if self._text.find(self._end, max(0, last - len(self._end) + 1)) >= 0:
            self._over_at = self._num_tokens
