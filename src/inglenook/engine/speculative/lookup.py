"""What one sequence is copying, and from where: a guess at each next token, checked against what came.

Guesses are made, and counted as right or wrong, whether or not they are used: so it costs no step to know what they
are worth.
"""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.engine.speculative.acceptance import SURPRISE, Acceptance, evidence
from inglenook.engine.speculative.ngram_index import WINDOW, NgramIndex

LONG_COPY = 2  # tokens; a copy of that many that goes wrong likely goes on a little later
MAX_LOST = 3
MAX_GROWTH = 4096  # tokens that are indexed at a time: a long prompt must not hold up the others (about 2 ms)


class Lookup:
    """`own` indexes the sequence's tokens, `donors` those of others; `rates` are the sequence's."""

    def __init__(self, own: NgramIndex, donors: Sequence[NgramIndex], rates: Acceptance) -> None:
        self._own = own
        self._donors = donors
        self._rates = rates
        self._num_seen = len(own.tokens)  # tokens whose guesses are counted, or that had none
        self._is_ready = False
        self._source: NgramIndex | None = None  # of the next guess, and where in it
        self._position = 0
        self._match_length = 0
        self._lost: list[tuple[NgramIndex, int, int]] = []  # where long copies went wrong, and after how many tokens

    def advance(self) -> None:
        """Take in the sequence's new tokens."""
        tokens, own = self._own.tokens, self._own
        if not self._is_ready:
            own.grow(min(len(tokens), own.size + MAX_GROWTH))
            self._is_ready = own.size == len(tokens)
            self._num_seen = own.size
            if self._is_ready:
                self._find(own.size)
            return
        for end in range(self._num_seen + 1, len(tokens) + 1):
            own.grow(end)
            self._follow(tokens[end - 1], end)
        self._num_seen = len(tokens)

    def chances(self, limit: int) -> list[float]:
        source = self._source
        if source is None or limit <= 0:
            return []
        if source is not self._own:
            limit = min(limit, source.size - self._position)
        rates, surprises = self._rates.rates, source.surprises
        return [
            rates[SURPRISE if self._position + i in surprises else evidence(self._match_length + i)]
            for i in range(limit)
        ]

    def draft(self, num_tokens: int) -> tuple[int, ...]:
        assert self._source is not None
        source, position = self._source, self._position
        draft = source.tokens[position : min(position + num_tokens, source.size)]
        if source is self._own:  # a copy of its own end goes round in a circle
            period = source.size - position
            while len(draft) < num_tokens:
                draft.append(draft[len(draft) - period])
        return tuple(draft)

    def _follow(self, token: int, end: int) -> None:
        source, position = self._source, self._position
        if source is None:
            self._find(end)
            return
        is_right = source.tokens[position] == token
        self._rates.add(SURPRISE if position in source.surprises else evidence(self._match_length), is_right)
        self._position += 1
        if is_right:
            self._match_length += 1
        else:
            self._own.surprises.add(end - 1)
            is_long = self._match_length >= LONG_COPY
            if is_long:
                self._lost = [(source, position, end), *self._lost[: MAX_LOST - 1]]
            self._find(end)
            if self._source is None and is_long:  # perhaps one token was exchanged for another
                self._source, self._position = source, position + 1
        if self._source is not None and self._position >= self._source.size:
            self._source = None

    def _find(self, end: int) -> None:
        """Set the next guess: what follows the longest match anywhere."""
        self._lost = [place for place in self._lost if end - place[2] <= WINDOW]
        self._source, self._match_length = None, 0
        for index in (self._own, *self._donors):
            near = [position for lost, position, _ in self._lost if lost is index]
            found, length = index.find(self._own.tokens, end, near)
            if length > self._match_length:
                self._source, self._position, self._match_length = index, found, length
