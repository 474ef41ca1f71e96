"""What a draft model has computed of each sequence, and in which blocks of its own cache.

The cache has as many blocks as the large model's. Prefixes are shared in it in the same way, though not always at the
same time: where its blocks run out, a sequence goes without drafts until others end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from inglenook.engine.kv_cache import BlockPool, BlockTables
from inglenook.engine.prefix_cache import Match, PrefixCache
from inglenook.engine.sequence import Sequence
from inglenook.engine.speculative.acceptance import Acceptance


@dataclass(eq=False)
class Follower:
    """Keys and values of the sequence's first num_computed_tokens are in `block_ids`, and behind them those of `draft`
    but for its last token, which nothing was computed from.
    """

    sequence: Sequence
    row: int
    rates: Acceptance
    num_tokens_drafted_at: int  # the sequence's length when something was last drafted for it
    block_ids: list[int] = field(default_factory=list)
    num_computed_tokens: int = 0
    num_committed_blocks: int = 0
    draft: list[int] = field(default_factory=list)

    @property
    def token_ids(self) -> list[int]:
        return self.sequence.token_ids

    @property
    def rank(self) -> tuple[int, int]:
        return self.sequence.rank

    def hash_full_blocks(self, block_size: int) -> list[bytes]:
        return self.sequence.hash_full_blocks(block_size)

    def parent_hash(self, index: int) -> bytes:
        return self.sequence.parent_hash(index)


class DraftCache:
    """Owns the blocks. Not thread-safe."""

    def __init__(self, pool: BlockPool, *, max_num_seqs: int, context_length: int) -> None:
        self.pool = pool
        self.context_length = context_length
        self.followers: dict[Sequence, Follower] = {}
        self.prefixes: PrefixCache[Follower] = PrefixCache(pool)
        self._tables = BlockTables(max_num_seqs, -(-context_length // pool.block_size))
        self._num_free_rows = max_num_seqs

    @property
    def block_tables(self) -> npt.NDArray[np.int32]:
        return self._tables.array

    def follow(self, sequence: Sequence, rates: Acceptance) -> Follower | None:
        """Begin with a sequence, whose rates start from these; None where there is no seat."""
        if self._num_free_rows == 0:
            self._drop_preempted()
        if self._num_free_rows == 0:
            return None
        self._num_free_rows -= 1
        follower = Follower(sequence, self._tables.claim_row(), Acceptance(rates), len(sequence.token_ids))
        self.followers[sequence] = follower
        self.prefixes.begin(follower)
        return follower

    def settle(self, follower: Follower) -> None:
        """Take in what has become of the draft, and what others have computed since. Copies may have to be made."""
        self._keep_right_drafts(follower)
        # Where all its blocks are full, others may have computed the next.
        if follower.num_computed_tokens == len(follower.block_ids) * self.pool.block_size:
            self._take_over(follower)

    def make_room(self, follower: Follower, num_tokens: int) -> bool:
        """Give it the blocks for so many tokens; False, and none, where there aren't as many."""
        num_missing = -(-num_tokens // self.pool.block_size) - len(follower.block_ids)
        if num_missing > self.pool.num_free:
            self._drop_preempted()
        if num_missing > self.pool.num_free:
            return False
        if num_missing > 0:
            self._give_blocks(follower, self.pool.allocate(num_missing))
        return True

    def drop(self, sequence: Sequence) -> None:
        """What is computed may still be found by those that begin alike."""
        follower = self.followers.pop(sequence, None)
        if follower is None:
            return
        self._keep_right_drafts(follower)
        self.prefixes.end(follower)
        self.pool.release(follower.block_ids)
        self._tables.free_row(follower.row)
        self._num_free_rows += 1

    def _drop_preempted(self) -> None:
        for sequence in [sequence for sequence in self.followers if sequence.row is None]:
            self.drop(sequence)

    def _keep_right_drafts(self, follower: Follower) -> None:
        """The draft ends where the sequence went on otherwise."""
        tokens, num_computed = follower.token_ids, follower.num_computed_tokens
        for token in follower.draft[:-1]:
            if num_computed >= len(tokens) - 1 or tokens[num_computed] != token:
                break
            num_computed += 1
        follower.num_computed_tokens = num_computed
        follower.draft = []
        self.prefixes.commit(follower)

    def _take_over(self, follower: Follower) -> None:
        """Never the last token."""
        found = self.prefixes.find(follower, min(len(follower.token_ids), self.context_length) - 1)
        num_full_blocks = len(follower.block_ids) + len(found.blocks)
        if found.source is not None and self.pool.num_free <= self.pool.count_unused(found.claimed):
            found = Match(found.blocks, num_full_blocks * self.pool.block_size)
        self.prefixes.claim(found)
        self._give_blocks(follower, found.blocks)
        if found.source is not None:
            self._give_blocks(follower, self.pool.allocate(1))
            self.prefixes.copy(follower, found, follower.block_ids[num_full_blocks])
        follower.num_computed_tokens = found.num_tokens
        self.prefixes.commit(follower)

    def _give_blocks(self, follower: Follower, blocks: list[int]) -> None:
        self._tables.write(follower.row, len(follower.block_ids), blocks)
        follower.block_ids.extend(blocks)
