"""A smaller model of the same vocabulary drafts: greedily, one step for each token, on an executor of its own.

What it hasn't computed of a sequence, above all its prompt, it computes in parts between the large model's steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence as SequenceOf

from inglenook.engine.sequence import Sequence
from inglenook.engine.speculative.acceptance import Acceptance
from inglenook.engine.speculative.draft_budget import DraftBudget
from inglenook.engine.speculative.draft_cache import DraftCache, Follower
from inglenook.ops.executor import Executor
from inglenook.ops.step_layout import lay_out_step

PRIOR = 0.6  # share of drafted tokens that are right, before anything is known
NEAR = 24  # tokens behind, at most, of a sequence that is drafted for: they take hardly longer than one
TRIAL_AFTER = 16  # tokens without a draft
TRIAL_CHANCE = 0.95  # what a draft on trial is announced with
MAX_STEP_TOKENS = 16 * NEAR  # of the executor: the most sequences with drafts in a step, all of them NEAR behind


class DraftModel:
    """Implements Drafter. Owns the executor."""

    def __init__(self, executor: Executor, cache: DraftCache) -> None:
        self.executor = executor
        self._cache = cache
        self._rates = Acceptance(prior=(PRIOR,))
        self._budget = DraftBudget()
        self._on_trial: set[Sequence] = set()

    def prepare(self, sequences: SequenceOf[Sequence], step_seconds: float, rows_seconds: float) -> None:
        cache = self._cache
        self._budget.begin(step_seconds, rows_seconds, len(sequences))
        self._on_trial.clear()
        for sequence in sequences:
            if len(sequence.token_ids) >= cache.context_length:
                cache.drop(sequence)
                continue
            follower = cache.followers.get(sequence) or cache.follow(sequence, self._rates)
            if follower is None:
                continue
            self._settle(follower)  # finds what those before have computed of the same beginning
            if _num_behind(sequence, follower) > NEAR:
                self._catch_up(sequence, follower)

    def chances(self, sequence: Sequence, limit: int) -> SequenceOf[float]:
        cache = self._cache
        follower = cache.followers.get(sequence)
        num_tokens = len(sequence.token_ids)
        limit = min(limit, cache.context_length - num_tokens)
        if follower is None or limit <= 0:
            return ()
        num_behind = _num_behind(sequence, follower)
        if num_behind > NEAR or not cache.make_room(follower, num_tokens + limit):
            return ()
        if num_tokens - follower.num_tokens_drafted_at >= TRIAL_AFTER and self._budget.can_try(num_behind):
            self._on_trial.add(sequence)
            return (TRIAL_CHANCE,)
        return [follower.rates.rates[0]] * limit

    def draft(self, wishes: SequenceOf[tuple[Sequence, int]]) -> list[tuple[int, ...]]:
        """The first step of each also computes what was put out since the last."""
        followers = [self._cache.followers[sequence] for sequence, _ in wishes]
        is_trial = all(sequence in self._on_trial for sequence, _ in wishes)
        for (sequence, _), follower in zip(wishes, followers, strict=True):
            follower.num_tokens_drafted_at = len(sequence.token_ids)
        for depth in range(max(num_tokens for _, num_tokens in wishes)):
            started = time.perf_counter()
            drafting = [
                (sequence, follower)
                for (sequence, num_tokens), follower in zip(wishes, followers, strict=True)
                if num_tokens > depth
            ]
            if depth == 0:
                parts = [(f, s.token_ids[f.num_computed_tokens :], f.num_computed_tokens) for s, f in drafting]
            else:
                parts = [(f, f.draft[-1:], len(s.token_ids) + depth - 1) for s, f in drafting]
            for (sequence, follower), token in zip(drafting, self._run(parts), strict=True):
                follower.num_computed_tokens = len(sequence.token_ids)
                follower.draft.append(token)
            is_usual = sum(len(tokens) for _, tokens, _ in parts) <= 2 * len(parts)
            self._budget.spend_draft_step(time.perf_counter() - started, is_usual=is_usual, is_trial=is_trial)
        return [tuple(follower.draft) for follower in followers]

    def seconds(self, num_tokens: int) -> float:
        return num_tokens * self._budget.draft_step

    def learn(self, sequence: Sequence, num_drafted: int, num_accepted: int) -> None:
        follower = self._cache.followers.get(sequence)
        if follower is None:
            return
        for _ in range(num_accepted):
            follower.rates.add(0, True)
        if num_accepted < num_drafted:
            follower.rates.add(0, False)

    def forget(self, sequence: Sequence) -> None:
        self._cache.drop(sequence)
        self._on_trial.discard(sequence)

    def close(self) -> None:
        for sequence in list(self._cache.followers):
            self.forget(sequence)
        self.executor.close()

    def _catch_up(self, sequence: Sequence, follower: Follower) -> None:
        """Compute what is missing, as far as the time allows, but for the last token, with which drafting begins."""
        budget, start, num_behind = self._budget, follower.num_computed_tokens, _num_behind(sequence, follower)
        num_left = sequence.max_num_tokens - len(sequence.token_ids)
        is_trial = not budget.is_worth(num_behind, num_left, follower.rates.rates[0])
        if is_trial and not budget.can_try(num_behind):
            return
        count = min(num_behind - 1, budget.num_tokens(), MAX_STEP_TOKENS)
        if count <= 0 or not self._cache.make_room(follower, start + count):
            return
        started = time.perf_counter()
        self._run([(follower, sequence.token_ids[start : start + count], start)], is_drafting=False)
        budget.spend(time.perf_counter() - started, count, is_trial=is_trial)
        follower.num_computed_tokens += count
        self._settle(follower)

    def _settle(self, follower: Follower) -> None:
        self._cache.settle(follower)
        if copies := self._cache.prefixes.copies:
            self.executor.copy_blocks(copies)
            self._cache.prefixes.finish_copies()

    def _run(self, parts: SequenceOf[tuple[Follower, list[int], int]], *, is_drafting: bool = True) -> list[int]:
        """Compute tokens of each follower from a position on; the likeliest token behind each, if wanted."""
        logits = self.executor.run(
            lay_out_step(
                [token for _, tokens, _ in parts for token in tokens],
                [follower.row for follower, _, _ in parts],
                [start for _, _, start in parts],
                [len(tokens) for _, tokens, _ in parts],
                [int(is_drafting)] * len(parts),
                block_tables=self._cache.block_tables,
                block_size=self._cache.pool.block_size,
            )
        )
        drafts: list[int] = logits.argmax(axis=1).tolist() if is_drafting else []
        return drafts


def _num_behind(sequence: Sequence, follower: Follower) -> int:
    return len(sequence.token_ids) - follower.num_computed_tokens
