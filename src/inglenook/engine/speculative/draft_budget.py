"""What drafting with a model may cost: not a long wait at once, and little where it brings nothing.

All by measured times; there is no clock in here. A sequence is worth catching up with where the steps that its drafts
are likely to save take longer than computing its tokens. Where they don't, a small share of the time is saved up
(`credit`) and spent on trying again.
"""

from __future__ import annotations

from inglenook.engine.speculative.step_times import moved

PACE = 0.5  # of a step without drafts: what may be added to it, so that no stream stalls
TRIAL_SHARE = 0.01  # of the time: what trials may cost where drafting doesn't pay
MAX_CREDIT = 16.0  # steps
MARGIN = 1.2  # by which gains have to be above costs: near the limit drafting is as good as none
NUM_EXPECTED = 256  # tokens that a sequence is expected to go on for, where it may
FIRST_TOKENS = 32  # computed at once while their time isn't known
LEAST_TOKENS = 8  # computed at once: fewer take as long


class DraftBudget:
    """Seconds throughout."""

    def __init__(self) -> None:
        self._draft_step = _Measured()
        self._token = _Measured()
        self._step = 0.0  # of the large model
        self._rows = 0.0
        self._num_sequences = 1
        self._allowance = 0.0
        self._credit = 0.0

    @property
    def draft_step(self) -> float:
        """One token drafted for each of some sequences; 0 while not known."""
        return self._draft_step.seconds

    @property
    def token(self) -> float:
        """One of many tokens that are computed at once; 0 while not known."""
        return self._token.seconds

    def begin(self, step_seconds: float, rows_seconds: float, num_sequences: int) -> None:
        """The large model's next step takes `step_seconds` without drafts, `rows_seconds` more with one of each."""
        self._step = step_seconds
        self._rows = rows_seconds
        self._num_sequences = num_sequences
        self._allowance = min(self._allowance + PACE * step_seconds, PACE * step_seconds)
        self._credit = min(self._credit + TRIAL_SHARE * step_seconds, MAX_CREDIT * step_seconds)

    def is_worth(self, num_behind: int, num_left: int, chance: float) -> bool:
        """Should `num_behind` tokens be computed for a sequence that goes on for at most `num_left`?"""
        gain = (chance * self._step - MARGIN * (self.draft_step + self._rows)) / self._num_sequences
        return num_behind * self.token < gain * min(num_left, NUM_EXPECTED)

    def can_try(self, num_behind: int) -> bool:
        """Is there credit for these tokens and a draft behind them? The draft's row in the large step counts as one."""
        return num_behind * self.token + 2 * self.draft_step < self._credit

    def num_tokens(self) -> int:
        """How many tokens may be computed now."""
        if self._allowance <= 0:
            return 0
        return FIRST_TOKENS if self.token == 0 else max(int(self._allowance / self.token), LEAST_TOKENS)

    def spend(self, seconds: float, num_tokens: int, *, is_trial: bool) -> None:
        """So many tokens were computed at once."""
        self._token.add(seconds / num_tokens)
        self._allowance = self._allowance - seconds if self.token > 0 else 0.0
        self._credit -= seconds if is_trial else 0.0

    def spend_draft_step(self, seconds: float, *, is_usual: bool, is_trial: bool) -> None:
        """A token was drafted for each of some sequences; not as usual where one had many to catch up with."""
        if is_usual:
            self._draft_step.add(seconds)
        self._credit -= 2 * seconds if is_trial else 0.0


class _Measured:
    """An average of the recent past, but for the first measurement, which finds nothing warm."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._num_measured = 0

    def add(self, seconds: float) -> None:
        self._num_measured += 1
        if self._num_measured > 1:
            self.seconds = moved(self.seconds, seconds) if self.seconds > 0 else seconds
