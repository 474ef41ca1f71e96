"""How many tokens to draft for each decoding sequence: as many as make the step's tokens per second highest.

A draft of chance p adds p tokens to a step and a row to its time. Both are known from what was just seen: so where
drafts fail, or rows cost too much, nothing is drafted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from inglenook.engine.batch import ScheduledStep
from inglenook.engine.sequence import Sequence
from inglenook.engine.speculative.drafter import Drafter
from inglenook.engine.speculative.step_times import StepTimes

LEAST_CHANCE = 0.02  # a draft less likely than that isn't considered
LEAST_GAIN = 1.01  # of a longer draft over a shorter one: what is within the noise isn't taken

logger = logging.getLogger(__name__)


@dataclass
class SpeculationCounters:
    """Sums since the start."""

    num_drafts: int = 0  # sequences in steps with drafts
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0


class Speculator:
    """`max_rows` bounds a step with drafts, `max_draft_tokens` what is drafted for one sequence."""

    def __init__(self, drafter: Drafter, *, max_rows: int, max_draft_tokens: int) -> None:
        self.counters = SpeculationCounters()
        self._drafter = drafter
        self._max_rows = max_rows
        self._max_draft_tokens = max_draft_tokens
        self._times = StepTimes(max_rows)
        self._is_off = False

    def propose(self, sequences: SequenceOf[Sequence], num_forced: int = 0) -> list[tuple[int, ...]]:
        """Drafts for sequences that each decode a token in the next step; none at all: an empty list.

        `num_forced` further tokens are computed in it, too: those that guides force.
        """
        if self._is_off:
            return []
        try:
            return self._propose(sequences, num_forced)
        except Exception:  # no request fails for it
            logger.exception("Drafting failed; from now on there are no drafts.")
            self._is_off = True
            return []

    def _propose(self, sequences: SequenceOf[Sequence], num_forced: int) -> list[tuple[int, ...]]:
        num_free_rows = self._max_rows - len(sequences) - num_forced
        if num_free_rows <= 0:
            return []
        times = self._times.estimates(len(sequences))[num_forced:]
        if not times:
            return []
        drafted = [sequence for sequence in sequences if _is_drafted(sequence)]
        rows_seconds = times[min(len(drafted), len(times) - 1)] - times[0]
        self._drafter.prepare(drafted, times[0], rows_seconds)
        chances = []
        for sequence in sequences:
            limit = min(self._max_draft_tokens, num_free_rows, sequence.max_num_tokens - len(sequence.token_ids) - 1)
            chances.append(self._drafter.chances(sequence, limit) if limit > 0 and _is_drafted(sequence) else ())
        lengths = self._choose_lengths(chances, times, num_free_rows)
        wishes = [(sequence, length) for sequence, length in zip(sequences, lengths, strict=True) if length > 0]
        if not wishes:
            return []
        drafts = iter(self._drafter.draft(wishes))
        return [next(drafts) if length > 0 else () for length in lengths]

    def observe(self, step: ScheduledStep, seconds: float) -> None:
        """What a step took."""
        # A prompt among them says nothing about decoding, nor does what a guide forces.
        if step.num_decodes == len(step.chunks) and all(chunk.num_known == 1 for chunk in step.chunks):
            self._times.add(sum(chunk.num_tokens for chunk in step.chunks), seconds)

    def learn(self, step: ScheduledStep, tokens: SequenceOf[SequenceOf[int]]) -> None:
        """What was sampled for each of step.sampled: the drafts that were right, and one token more."""
        if step.drafts is None:
            return
        chunks = [chunk for chunk in step.chunks if chunk.is_sampled]
        for chunk, sampled in zip(chunks, tokens, strict=True):
            if chunk.drafts and not chunk.sequence.forced:
                num_accepted = max(len(sampled) - 1, 0)
                self.counters.num_drafts += 1
                self.counters.num_draft_tokens += len(chunk.drafts)
                self.counters.num_accepted_tokens += num_accepted
                self._drafter.learn(chunk.sequence, len(chunk.drafts), num_accepted)

    def forget(self, sequence: Sequence) -> None:
        self._drafter.forget(sequence)

    def close(self) -> None:
        self._drafter.close()

    def _choose_lengths(self, chances: list[SequenceOf[float]], times: list[float], num_free_rows: int) -> list[int]:
        """The likeliest draft tokens of all, as many as pay."""
        gains = sorted(_gains(chances), key=lambda gain: -gain[0])[:num_free_rows]
        lengths = [0] * len(chances)
        num_tokens = float(len(chances))
        best_rate, best_count, longest = num_tokens / times[0], 0, 0
        for count, (gain, _, depth) in enumerate(gains, 1):
            num_tokens += gain
            longest = max(longest, depth)
            rate = num_tokens / (times[count] + self._drafter.seconds(longest))
            if rate > best_rate * LEAST_GAIN:
                best_rate, best_count = rate, count
        for _, index, _ in gains[:best_count]:
            lengths[index] += 1
        return lengths


def _is_drafted(sequence: Sequence) -> bool:
    return sequence.request.is_drafted and not sequence.forced


def _gains(chances: list[SequenceOf[float]]) -> list[tuple[float, int, int]]:
    """(chance that it and all before it are right, sequence, place in the draft) of each draft token."""
    gains = []
    for index, sequence_chances in enumerate(chances):
        likelihood = 1.0
        for depth, chance in enumerate(sequence_chances, 1):
            likelihood *= min(chance, 0.999)  # so that a later one is never as likely as one before it
            if likelihood < LEAST_CHANCE:
                break
            gains.append((likelihood, index, depth))
    return gains
