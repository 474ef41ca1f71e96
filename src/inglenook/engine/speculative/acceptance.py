"""How often guesses turn out right, by how much speaks for them: averages of the recent past."""

from __future__ import annotations

from collections.abc import Sequence

SURPRISE = 7  # a guess at a token that surprised before, whatever matches in front of it
PRIOR = (0.3, 0.2, 0.3, 0.5, 0.7, 0.85, 0.9, 0.3)  # before anything is known
SLOWEST = 24  # guesses over which an average reaches back


def evidence(match_length: int) -> int:
    """The class of a guess behind a match of this many tokens: 0 for none, then one for each doubling."""
    return min(match_length.bit_length(), SURPRISE - 1)


class Acceptance:
    """Rates of one sequence, which start from those of all (`parent`), and count there, too. `prior` has one for each
    class of guesses.
    """

    def __init__(self, parent: Acceptance | None = None, *, prior: Sequence[float] = PRIOR) -> None:
        self.rates: list[float] = list(prior if parent is None else parent.rates)
        self._num_guesses = [4.0] * len(self.rates)  # what the start counts for
        self._parent = parent

    def add(self, kind: int, is_right: bool) -> None:
        self._num_guesses[kind] = min(self._num_guesses[kind] + 1, SLOWEST)
        self.rates[kind] += (is_right - self.rates[kind]) / self._num_guesses[kind]
        if self._parent is not None:
            self._parent.add(kind, is_right)
