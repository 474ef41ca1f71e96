"""Where the last few tokens of a sequence have stood before: hash chains, as in deflate."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

MAX_CANDIDATES = 4  # of a chain that are looked at
WINDOW = 32  # tokens behind the place where a copy went wrong, in which it is likely to go on


class NgramIndex:
    """Over `tokens`, a list that may grow; those beyond `size` aren't in it yet.

    A position is that of the token behind an n-gram. `_head` has the latest one for each n-gram of `min_length`
    tokens (by hash: matches are compared anyway), `_previous` the one before it with the same hash.
    `surprises` are the positions whose token a copy from elsewhere got wrong: it may well be another one next time.
    """

    def __init__(self, tokens: list[int], *, min_length: int, max_length: int) -> None:
        self.tokens = tokens
        self.size = 0
        self.surprises: set[int] = set()
        self._min_length = min_length
        self._max_length = max_length
        self._head: dict[int, int] = {}
        self._previous = array("i")

    def grow(self, size: int) -> None:
        """Take in the tokens up to `size`."""
        tokens, head, previous, length = self.tokens, self._head, self._previous, self._min_length
        for position in range(self.size + 1, size + 1):
            if position < length:
                previous.append(-1)
                continue
            key = hash(tuple(tokens[position - length : position]))
            previous.append(head.get(key, -1))
            head[key] = position
        self.size = max(self.size, size)

    def find(self, history: list[int], end: int, near: Sequence[int] = ()) -> tuple[int, int]:
        """The position behind the longest match of the last tokens of history[:end], and its length; (-1, 0): none.

        Of equally long ones, one soon behind a place in `near`, then the latest. Near, a single token is a match.
        """
        best, best_length = -1, 0
        for position in self._candidates(history, end, near):
            length = self._match_length(history, end, position)
            if length > best_length:
                best, best_length = position, length
        return best, best_length

    def _candidates(self, history: list[int], end: int, near: Sequence[int]) -> Iterator[int]:
        for first in near:
            token = history[end - 1]
            for position in range(first + 1, min(first + WINDOW, self.size)):
                if self.tokens[position - 1] == token:
                    yield position
                    break
        if end < self._min_length:
            return
        position = self._head.get(hash(tuple(history[end - self._min_length : end])), -1)
        for _ in range(MAX_CANDIDATES):
            if position < 0:
                return
            if position < self.size:  # else nothing is known behind it
                yield position
            position = self._previous[position - 1]

    def _match_length(self, history: list[int], end: int, position: int) -> int:
        tokens = self.tokens
        longest = min(self._max_length, position, end)
        for length in range(1, longest + 1):
            if tokens[position - length] != history[end - length]:
                return length - 1
        return longest
