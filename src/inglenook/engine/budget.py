"""How many prompt tokens may join a step, so that sequences that are decoding keep their pace.

Learnt from how long steps took: what a step of so many decodes takes alone, and what a prompt token adds to it, which
rises with the context that it attends to. What a step computes never changes a result, only when it comes.
"""

from __future__ import annotations

from collections import deque

MAX_STRETCH = 1.8  # a step with prompt tokens aims at this many times the time of one without
FIRST_PROMPT_TOKENS = 4  # beside decodes, while nothing is known of what a token takes
DOUBT = 0.2  # of a quiet step's time: what prompt tokens add below that isn't told from what the system does besides
NUM_QUIET_STEPS = 3  # the shortest of the last ones counts: what the system does besides only adds time
QUIET_EVERY = 24  # steps: while prompts keep coming, one goes without, so that its time stays known
QUIET_EVERY_AT_FIRST = 4


class StepBudget:
    """Not thread-safe. The caller measures; there is no clock in here."""

    def __init__(self) -> None:
        self._quiet: dict[int, deque[float]] = {}  # by number of decodes, roughly: seconds of the last steps
        self._num_since_quiet = 0
        self._token: _TokenSeconds | None = None
        self._has_mixed = False  # a step of prompt tokens and decodes has been observed

    def prompt_seconds(self, num_decodes: int) -> float | None:
        """What prompts may add to the next step. None: any time; 0: a step without them is due, to see its time."""
        if num_decodes == 0:
            return None
        known = self._quiet.get(_roughly(num_decodes), ())
        every = QUIET_EVERY if len(known) == NUM_QUIET_STEPS else QUIET_EVERY_AT_FIRST
        if not known or self._num_since_quiet >= every:
            return 0.0
        return (MAX_STRETCH - 1) * min(known)

    def tokens_within(self, seconds: float, start: int) -> int:
        """Tokens of a prompt, from position `start` on, that take `seconds`."""
        if self._token is None:
            return FIRST_PROMPT_TOKENS
        guess = seconds / self._token.at(start)
        return int(seconds / self._token.at(start + guess / 2))

    def seconds_of(self, start: int, num_tokens: int) -> float:
        return 0.0 if self._token is None else num_tokens * self._token.at(start + num_tokens / 2)

    def observe(self, num_decodes: int, num_prompt_tokens: int, mean_position: float, seconds: float) -> None:
        """A step took `seconds`; its prompt tokens stand at `mean_position` in their sequences, on average."""
        if num_prompt_tokens == 0:
            self._quiet.setdefault(_roughly(num_decodes), deque(maxlen=NUM_QUIET_STEPS)).append(seconds)
            self._num_since_quiet = 0
            return
        if num_decodes == 0:
            # Long chunks cost otherwise than short ones; for want of better they are a first guess.
            if not self._has_mixed:
                self._token = _TokenSeconds(seconds / num_prompt_tokens, mean_position)
            return
        self._num_since_quiet += 1
        known = self._quiet.get(_roughly(num_decodes))
        if known is None:
            return
        if seconds < min(known):
            known.append(seconds)  # without the prompt tokens it would have taken no longer
        # While the tokens are too few to be seen, they may take what is in doubt: so their number grows by steps.
        doubt = DOUBT * min(known)
        added = seconds - min(known)
        if self._token is None or not self._has_mixed:
            self._token = _TokenSeconds(max(added, doubt) / num_prompt_tokens, mean_position)
            self._has_mixed = True
        elif added > doubt or num_prompt_tokens * self._token.at(mean_position) > doubt:
            most = (added + doubt) / num_prompt_tokens
            self._token.observe(max(added, doubt) / num_prompt_tokens, most, mean_position)


class _TokenSeconds:
    """Seconds of a prompt token as a line over its position: a level that follows at once, a slope that follows slowly.

    A single observation raises the level by a limited factor: a step that the system interrupted isn't believed. What
    is surely not exceeded brings it down at once.
    """

    def __init__(self, seconds: float, position: float) -> None:
        self._level = seconds  # at `_position`
        self._position = position
        self._slope = 0.0
        self._num_observed = 1
        self._mean_position = position
        self._mean_seconds = seconds
        self._variance = 0.0
        self._covariance = 0.0

    def at(self, position: float) -> float:
        return max(self._level + self._slope * (position - self._position), self._level / 4)

    def observe(self, seconds: float, most: float, position: float) -> None:
        """A token took about `seconds`, and surely no more than `most`."""
        self._num_observed += 1
        expected = self.at(position)
        seconds = min(max(seconds, expected / 2), expected * 2)
        self._level = min(most, expected + (seconds - expected) * max(0.3, 1 / self._num_observed))
        self._position = position
        self._learn_slope(seconds, position)

    def _learn_slope(self, seconds: float, position: float) -> None:
        """By the recent covariance of cost and position; positions that hardly differ say nothing about it."""
        gain = max(0.02, 1 / self._num_observed)
        offset = position - self._mean_position
        self._mean_position += gain * offset
        self._mean_seconds += gain * (seconds - self._mean_seconds)
        self._variance += gain * (offset * (position - self._mean_position) - self._variance)
        self._covariance += gain * (offset * (seconds - self._mean_seconds) - self._covariance)
        self._slope = max(0.0, self._covariance / (self._variance + 256.0**2))


def _roughly(num_decodes: int) -> int:
    """Numbers that are alike to an eighth or so: each has times of its own."""
    shift = max(0, num_decodes.bit_length() - 3)
    return num_decodes >> shift << shift
