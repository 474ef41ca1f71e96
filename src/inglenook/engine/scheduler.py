"""Which sequences are computed in each step: a token budget, decodes first, then prompts in chunks. What time
the prompts beside decodes may take, `budget` says.

Sequences go by rank: priority, then arrival. A sequence gets the blocks of all its known tokens when it starts, more
as it grows. When none is left, the sequence of the last rank is preempted: it gives its blocks back,
waits, and is computed again from what the cache still holds of it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inglenook.engine.batch import ScheduledChunk, ScheduledStep
from inglenook.engine.budget import StepBudget
from inglenook.engine.guided import cut_draft, follow
from inglenook.engine.kv_cache import BlockPool, BlockTables
from inglenook.engine.prefix_cache import Match, PrefixCache
from inglenook.engine.request import EngineRequest
from inglenook.engine.sequence import Sequence, make_sequence
from inglenook.errors import EngineError

if TYPE_CHECKING:
    from inglenook.engine.speculative.speculator import Speculator

MAX_FORCED_TOKENS = 64  # that one step computes: so that no guide makes it much longer for the others


@dataclass
class SchedulerCounters:
    """Sums since the start."""

    num_preemptions: int = 0
    prefix_query_tokens: int = 0  # prompt tokens that were looked for in the cache
    prefix_hit_tokens: int = 0  # those that it supplied


class Appended(NamedTuple):
    """What a step added to a sequence: how many of its sampled tokens, and what the guide forces behind them."""

    num_sampled: int
    forced: SequenceOf[int] = ()
    error: EngineError | None = None  # of the guide: the request has failed


class Scheduler:
    """Holds every sequence that hasn't ended, waiting or running. Not thread-safe."""

    def __init__(
        self,
        pool: BlockPool,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        context_length: int,
        max_num_selected: int | None = None,
        budget: StepBudget | None = None,
        speculator: Speculator | None = None,
    ) -> None:
        self.pool = pool
        self.budget = budget  # None: max_num_batched_tokens alone bounds a step
        self.speculator = speculator
        self.max_num_batched_tokens = max_num_batched_tokens
        # Never more sequences than tokens in a step: so every running one advances, and a prompt among decodes too.
        self.max_num_seqs = min(max_num_seqs, max_num_batched_tokens)
        # Tokens of a step that may be sampled, at least one for each sequence.
        self._max_num_selected = self.max_num_seqs if max_num_selected is None else max_num_selected
        # No sequence outgrows the cache: so the first in rank can always go on, once the others are preempted.
        self.context_length = min(context_length, pool.num_blocks * pool.block_size)
        self.sequences: dict[str, Sequence] = {}
        self.waiting: list[Sequence] = []  # by rank, as `running`
        self.running: list[Sequence] = []
        self.counters = SchedulerCounters()
        self._prefixes: PrefixCache[Sequence] = PrefixCache(pool)
        self._tables = BlockTables(self.max_num_seqs, self._num_blocks_for(self.context_length))
        self._num_arrivals = 0

    # --- who is here --------------------------------------------------------------------------------

    def add(self, request: EngineRequest) -> Sequence:
        """Queue a request whose prompt leaves room in the context for a token at least, if it wants any."""
        assert 0 < len(request.prompt_token_ids) <= self.context_length - (request.sampling.max_tokens != 0)
        assert request.request_id not in self.sequences
        sequence = make_sequence(request, self._num_arrivals, self.context_length)
        self._num_arrivals += 1
        self.sequences[request.request_id] = sequence
        insort(self.waiting, sequence, key=_rank)
        return sequence

    def remove(self, sequence: Sequence, *, forget: bool = False) -> None:
        """Take a sequence out and free its blocks at once; `forget` also what the cache knows by its blocks."""
        del self.sequences[sequence.request.request_id]
        if sequence.row is None:
            self.waiting.remove(sequence)
        else:
            self._stop_running(sequence, forget=forget)
        if self.speculator is not None:
            self.speculator.forget(sequence)

    # --- one step -----------------------------------------------------------------------------------

    def schedule(self) -> ScheduledStep:
        """Choose the next step's chunks. There is at least one while there are sequences."""
        if not self._grow_running():
            self._start_waiting()
        chunks, num_decodes = self._share_budget()
        num_scored = sum(chunk.num_scored for chunk in chunks[num_decodes:])
        copies = self._prefixes.copies
        return ScheduledStep(chunks, num_decodes, self._tables.array, self.pool.block_size, num_scored, copies)

    def observe(self, step: ScheduledStep, seconds: float) -> None:
        """Learn from how long a step took."""
        if self.speculator is not None:
            self.speculator.observe(step, seconds)
        if self.budget is None or step.num_scored > 0 or step.drafts is not None:
            return
        num_decode_tokens = num_tokens = position_sum = 0
        for chunk in step.chunks[: step.num_decodes]:
            num_decode_tokens += chunk.num_tokens
        for chunk in step.chunks[step.num_decodes :]:
            num_tokens += chunk.num_tokens
            position_sum += chunk.num_tokens * (2 * chunk.start + chunk.num_tokens)
        mean_position = position_sum / (2 * num_tokens) if num_tokens else 0.0
        self.budget.observe(num_decode_tokens, num_tokens, mean_position, seconds)

    def update(self, step: ScheduledStep, tokens: SequenceOf[SequenceOf[int]]) -> list[Appended]:
        """Take in what a step gave: the new tokens of each of step.sampled, none where sampling failed.

        Returns what became of them: what is behind the end of a request doesn't count. Sets finish_reason and
        stop_token_id of sequences that end, and removes them and those that failed.
        """
        if step.copies:
            self._prefixes.finish_copies()
        if self.speculator is not None:
            self.speculator.learn(step, tokens)
        new_tokens = iter(tokens)
        appended = []
        for sequence, start, num_tokens, is_sampled, *_ in step.chunks:
            if is_sampled:
                appended.append(self._append(sequence, next(new_tokens)))
            else:
                sequence.num_computed_tokens = start + num_tokens
                self._prefixes.commit(sequence)
        return appended

    # --- starting, growing, preempting --------------------------------------------------------------

    def _grow_running(self) -> bool:
        """Give every running sequence room for its next token; True if that took preemption."""
        num_preemptions = self.counters.num_preemptions
        block_size = self.pool.block_size
        for sequence in self.running.copy():
            while sequence.row is not None and len(sequence.block_ids) * block_size < len(sequence.token_ids):
                if self.pool.num_free > 0:
                    self._give_blocks(sequence, self.pool.allocate(1))
                else:
                    self._preempt(self.running[-1])
        return self.counters.num_preemptions > num_preemptions

    def _start_waiting(self) -> None:
        """Start waiting sequences in order of rank, until one of them finds no room."""
        num_held_seats = 0
        for sequence in self.waiting[: self.max_num_seqs]:
            earlier = [other for other in self.running if other.rank < sequence.rank]
            backlog = sum(1 if other.is_decoding else other.num_uncomputed_tokens for other in earlier)
            if backlog >= self.max_num_batched_tokens:
                return
            limit = _num_to_find(sequence)
            found = self._prefixes.find(sequence, limit)
            if not sequence.is_scoring and self._prefixes.is_more_coming(sequence, found, limit):
                num_held_seats += 1  # so that later ones can't take its place
                continue
            if found.source is not None and not self._has_room(sequence, found, num_held_seats):
                found = Match(found.blocks, len(found.blocks) * self.pool.block_size)
            while not self._has_room(sequence, found, num_held_seats):
                if not self.running or self.running[-1].request.priority <= sequence.request.priority:
                    return
                self._preempt(self.running[-1])
            self._start(sequence, found)

    def _has_room(self, sequence: Sequence, found: Match, num_held_seats: int) -> bool:
        """A seat, its blocks, and one block more for every running sequence: else it would soon be preempted."""
        num_new_blocks = self._num_blocks_for(len(sequence.token_ids)) - len(found.blocks)
        num_left = self.pool.num_free - self.pool.count_unused(found.claimed) - num_new_blocks
        return len(self.running) + num_held_seats < self.max_num_seqs and num_left >= len(self.running)

    def _start(self, sequence: Sequence, found: Match) -> None:
        self.waiting.remove(sequence)
        insort(self.running, sequence, key=_rank)
        sequence.row = self._tables.claim_row()
        self._prefixes.claim(found)
        num_cached_blocks = len(found.blocks)
        num_new_blocks = self._num_blocks_for(len(sequence.token_ids)) - num_cached_blocks
        self._give_blocks(sequence, found.blocks + self.pool.allocate(num_new_blocks))
        if found.source is not None:
            self._prefixes.copy(sequence, found, sequence.block_ids[num_cached_blocks])
        sequence.num_computed_tokens = found.num_tokens
        sequence.num_committed_blocks = num_cached_blocks
        self._prefixes.begin(sequence)
        if sequence.num_cached_tokens is None:
            # What a guide forces behind the prompt may be found, too.
            num_prompt_tokens = len(sequence.request.prompt_token_ids)
            sequence.num_cached_tokens = min(sequence.num_computed_tokens, num_prompt_tokens)
            self.counters.prefix_query_tokens += num_prompt_tokens if self.pool.enable_prefix_caching else 0
            self.counters.prefix_hit_tokens += sequence.num_cached_tokens

    def _preempt(self, sequence: Sequence) -> None:
        self.counters.num_preemptions += 1
        self._stop_running(sequence)
        insort(self.waiting, sequence, key=_rank)

    def _stop_running(self, sequence: Sequence, *, forget: bool = False) -> None:
        assert sequence.row is not None
        self._prefixes.end(sequence, forget=forget)
        self.running.remove(sequence)
        self._tables.free_row(sequence.row)
        self.pool.release(sequence.block_ids, forget=forget)
        sequence.row = None
        sequence.is_decoding = False
        sequence.block_ids = []
        sequence.num_computed_tokens = 0
        sequence.num_committed_blocks = 0

    # --- parts of schedule and update ---------------------------------------------------------------

    def _share_budget(self) -> tuple[list[ScheduledChunk], int]:
        """One token to every decode, then what is left to prompts; and how many decodes there are."""
        chunks = []
        prompts = []
        num_forced = 0
        for sequence in self.running:
            start = sequence.num_computed_tokens
            num_known = len(sequence.token_ids) - start
            if num_known == 1 or sequence.is_decoding:
                chunks.append(ScheduledChunk(sequence, start, 1, num_known == 1))
                num_forced += num_known - 1
            else:
                prompts.append(sequence)
        num_decodes = len(chunks)
        num_left = self.max_num_batched_tokens - num_decodes
        if num_forced > 0:
            num_left -= self._add_forced(chunks, min(MAX_FORCED_TOKENS, num_left // 2 if prompts else num_left))
        if prompts:
            chunks += self._chunk_prompts(prompts, num_left, self._max_num_selected - num_decodes)
        elif chunks:
            chunks = self._add_drafts(chunks, num_left)
        assert chunks or not self.sequences, "sequences wait, and none can run"
        return chunks, num_decodes

    def _add_forced(self, chunks: list[ScheduledChunk], limit: int) -> int:
        """Give the decodes what is forced behind their next token, up to `limit` tokens; how many that were."""
        num_left = limit
        for index, chunk in enumerate(chunks):
            if not chunk.is_sampled:
                num_uncomputed = chunk.sequence.num_uncomputed_tokens
                num_tokens = min(num_uncomputed, 1 + num_left)
                num_left -= num_tokens - 1
                chunks[index] = chunk._replace(num_tokens=num_tokens, is_sampled=num_tokens == num_uncomputed)
        return limit - num_left

    def _chunk_prompts(self, prompts: list[Sequence], num_left: int, num_rows: int) -> Iterator[ScheduledChunk]:
        """What of these prompts goes beside the decodes: as many tokens as a step may have, and as the time allows.
        `num_rows` of them may get logits.
        """
        num_decode_tokens = self.max_num_batched_tokens - num_left
        seconds_left = None if self.budget is None else self.budget.prompt_seconds(num_decode_tokens)
        if seconds_left == 0:
            return
        is_first = True
        for index, sequence in enumerate(prompts):
            start = sequence.num_computed_tokens
            num_tokens = min(sequence.num_uncomputed_tokens, num_left)
            if sequence.is_scoring:
                num_later = len(prompts) - 1 - index
                num_tokens = min(num_tokens, _end_of_scored(sequence, num_rows - num_later) - start)
            if self.budget is not None and seconds_left is not None:
                num_tokens = min(num_tokens, max(self.budget.tokens_within(seconds_left, start), int(is_first)))
                seconds_left -= self.budget.seconds_of(start, num_tokens)
            if num_tokens <= 0:
                return
            end = start + num_tokens
            num_scored = max(0, min(end, sequence.num_to_score) - len(sequence.prompt_scores))
            is_sampled = end == len(sequence.token_ids)
            num_rows -= num_scored + is_sampled
            yield ScheduledChunk(sequence, start, num_tokens, is_sampled, num_scored=num_scored)
            num_left -= num_tokens
            is_first = False

    def _add_drafts(self, chunks: list[ScheduledChunk], num_left: int) -> list[ScheduledChunk]:
        """The same decodes with drafts behind them, as far as the free blocks allow: nobody is preempted."""
        drafts: list[tuple[int, ...]] = []
        if self.speculator is not None:
            num_forced = self.max_num_batched_tokens - num_left - len(chunks)
            drafts = self.speculator.propose([chunk.sequence for chunk in chunks], num_forced)
        if drafts:
            chunks = [self._with_draft(chunk, draft) for chunk, draft in zip(chunks, drafts, strict=True)]
        if any(chunk.sequence.forced for chunk in chunks):
            num_drafts = sum(len(chunk.drafts) for chunk in chunks)
            num_left = min(self._max_num_selected - len(chunks), num_left) - num_drafts
            num_left = min(num_left, MAX_FORCED_TOKENS)
            for index, chunk in enumerate(chunks):
                if chunk.sequence.forced:
                    chunks[index] = self._with_forced(chunk, num_left)
                    num_left -= len(chunks[index].drafts)
        return chunks

    def _with_draft(self, chunk: ScheduledChunk, draft: tuple[int, ...]) -> ScheduledChunk:
        sequence = chunk.sequence
        if not draft:
            return chunk
        assert chunk.is_sampled, "what is forced leaves no rows to drafts before it is cut off"
        if sequence.guide is not None:
            try:
                draft = tuple(cut_draft(sequence.guide, draft))
            except EngineError as error:
                sequence.failure = error
                return chunk
        draft = draft[: self._make_room(sequence, len(draft))]
        return chunk._replace(num_tokens=chunk.num_tokens + len(draft), drafts=draft)

    def _with_forced(self, chunk: ScheduledChunk, limit: int) -> ScheduledChunk:
        """What is forced and needs log-probabilities is computed as a draft is: one that is always right."""
        sequence = chunk.sequence
        assert sequence.guide is not None
        # Nothing is sampled behind the end.
        num_wanted = len(sequence.forced) - int(sequence.guide.is_finished)
        num_wanted = min(num_wanted, limit, sequence.max_num_tokens - len(sequence.token_ids) - 1)
        draft = tuple(sequence.forced[: self._make_room(sequence, num_wanted)])
        return chunk._replace(num_tokens=chunk.num_tokens + len(draft), drafts=draft)

    def _make_room(self, sequence: Sequence, num_drafts: int) -> int:
        """Give it the blocks for this many tokens behind its own, or what there is; for how many there is room."""
        num_tokens = len(sequence.token_ids) + num_drafts
        num_missing = self._num_blocks_for(num_tokens) - len(sequence.block_ids)
        if num_missing > 0:
            self._give_blocks(sequence, self.pool.allocate(min(num_missing, self.pool.num_free)))
        return min(num_tokens, len(sequence.block_ids) * self.pool.block_size) - len(sequence.token_ids)

    def _free_spare_blocks(self, sequence: Sequence) -> None:
        """Give back what only rejected drafts were in: it may be what the next step would preempt somebody for."""
        num_blocks = self._num_blocks_for(len(sequence.token_ids))
        if num_blocks < len(sequence.block_ids):
            self.pool.release(sequence.block_ids[num_blocks:])
            del sequence.block_ids[num_blocks:]

    def _append(self, sequence: Sequence, tokens: SequenceOf[int]) -> Appended:
        """Add the tokens that a step gave a sequence, and what its guide forces behind them."""
        if len(sequence.token_ids) >= sequence.max_num_tokens and sequence.failure is None:  # the prompt was all
            sequence.num_computed_tokens = len(sequence.token_ids)
            self._prefixes.commit(sequence)
            sequence.finish_reason = sequence.finish_reason or "length"
            self.remove(sequence)
            return Appended(0)
        num_sampled = sequence.append(tokens)
        error = sequence.failure
        forced: SequenceOf[int] = ()
        try:
            forced = follow(sequence, num_sampled) if num_sampled > 0 and error is None else ()
        except EngineError as guide_error:
            error = guide_error
        if num_sampled == 0 or error is not None:
            self.remove(sequence, forget=True)
            return Appended(0, (), error)
        # What is behind an accepted draft isn't wanted.
        sequence.num_computed_tokens = len(sequence.token_ids) - len(forced) - 1
        sequence.is_decoding = True
        self._prefixes.commit(sequence)
        if sequence.finish_reason is not None:
            self.remove(sequence)
        else:
            self._free_spare_blocks(sequence)
        return Appended(num_sampled, forced)

    def _give_blocks(self, sequence: Sequence, blocks: list[int]) -> None:
        assert sequence.row is not None
        self._tables.write(sequence.row, len(sequence.block_ids), blocks)
        sequence.block_ids.extend(blocks)

    def _num_blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.pool.block_size)


def _num_to_find(sequence: Sequence) -> int:
    """How many tokens the cache may supply: the last one is computed, and all whose logits are wanted."""
    return len(sequence.prompt_scores) if sequence.is_scoring else len(sequence.token_ids) - 1


def _end_of_scored(sequence: Sequence, num_rows: int) -> int:
    """How far a chunk may go that gets logits for `num_rows` tokens, its last ones."""
    end = len(sequence.prompt_scores) + num_rows
    # What is forced behind the prompt wants none, so that it would come between.
    is_forced = len(sequence.token_ids) > sequence.num_to_score + 1
    return min(end, sequence.num_to_score) if is_forced else end


def _rank(sequence: Sequence) -> tuple[int, int]:
    return sequence.rank
