"""What speculation needs of whatever guesses a sequence's next tokens."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import Protocol

from inglenook.engine.sequence import Sequence


class Drafter(Protocol):
    """Guesses. A wrong one costs time, never a wrong token: what is put out is what the model says."""

    def prepare(self, sequences: SequenceOf[Sequence], step_seconds: float, rows_seconds: float) -> None:
        """Work ahead, before the others are called. These decode in the next step: it takes `step_seconds` without
        drafts, and `rows_seconds` more with a draft token of each.
        """
        ...

    def chances(self, sequence: Sequence, limit: int) -> SequenceOf[float]:
        """For each of at most `limit` next tokens that it could guess: how likely it is right if those before are."""
        ...

    def draft(self, wishes: SequenceOf[tuple[Sequence, int]]) -> list[tuple[int, ...]]:
        """The next tokens of each sequence: as many as are wished, no more than it had chances for; fewer may be."""
        ...

    def seconds(self, num_tokens: int) -> float:
        """What guessing takes when the longest draft has this many tokens."""
        ...

    def learn(self, sequence: Sequence, num_drafted: int, num_accepted: int) -> None:
        """How much of a draft was right."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended."""
        ...

    def close(self) -> None: ...
