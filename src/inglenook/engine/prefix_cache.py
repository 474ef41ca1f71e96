"""What a sequence need not compute, because others have: whole blocks, which are shared, and behind them the beginning
of a block, which is copied.

What can be found are the blocks of those who are at work, as far as they are computed, and what the pool still holds of
those who aren't. A copy is made before the next step computes anything; until then its source isn't reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from inglenook.engine.block_contents import common_run
from inglenook.engine.kv_cache import BlockPool
from inglenook.ops.executor import BlockCopy

# Fewer tokens are neither copied nor waited for: see docs/performance.md, "Prefix reuse".
MIN_COPIED = 2
MIN_AWAITED = 4


class Holder(Protocol):
    """Keys and values of token_ids[:num_computed_tokens] are in its blocks; the full ones among them are committed."""

    block_ids: list[int]
    num_computed_tokens: int
    num_committed_blocks: int

    @property
    def token_ids(self) -> list[int]: ...

    @property
    def rank(self) -> tuple[int, int]:
        """Who goes first."""
        ...

    def hash_full_blocks(self, block_size: int) -> list[bytes]: ...

    def parent_hash(self, index: int) -> bytes:
        """What its block `index` is chained to."""
        ...


H = TypeVar("H", bound=Holder)


class Match(NamedTuple):
    """What there is behind the blocks that a holder has: `blocks` to share, and one to copy for its beginning."""

    blocks: list[int]
    num_tokens: int  # that need not be computed, from the first on
    source: int | None = None

    @property
    def claimed(self) -> list[int]:
        return self.blocks if self.source is None else [*self.blocks, self.source]


class PrefixCache(Generic[H]):
    """Not thread-safe. Without prefix caching in the pool nothing is found, and nothing kept."""

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self._at_work: dict[bytes, list[H]] = {}  # parent hash -> those whose block behind it isn't committed
        self._ends: dict[H, int] = {}  # each is in _at_work for its blocks [num_committed_blocks, this)
        self._copies: dict[H, BlockCopy] = {}  # not made yet, in the order in which they are to be made

    # --- finding ------------------------------------------------------------------------------------

    def find(self, holder: H, limit: int) -> Match:
        """Most of what the first `limit` of its tokens can get behind its blocks, all of which are full."""
        block_size = self.pool.block_size
        first = len(holder.block_ids)
        if not self.pool.enable_prefix_caching:
            return Match([], first * block_size)
        blocks = self.pool.match(holder.hash_full_blocks(block_size)[first : limit // block_size])
        index = first + len(blocks)
        start = index * block_size
        wanted = holder.token_ids[start : min(start + block_size, limit)]
        if len(wanted) < MIN_COPIED:
            return Match(blocks, start)
        parent = holder.parent_hash(index)
        source, count = self.pool.contents.find(parent, wanted) or (None, 0)
        for other in self._at_work.get(parent, ()):
            computed = other.token_ids[start : min(start + len(wanted), other.num_computed_tokens)]
            # Who waits for a copy has nothing yet that its source hasn't.
            if len(computed) > count and other not in self._copies:
                common = common_run(computed, wanted)
                if common > count:
                    source, count = other.block_ids[index], common
        return Match(blocks, start + count, source) if count >= MIN_COPIED else Match(blocks, start)

    def is_more_coming(self, holder: H, match: Match, limit: int) -> bool:
        """Is one of earlier rank computing what this one needs next? Then it need not, too."""
        block_size = self.pool.block_size
        index = len(holder.block_ids) + len(match.blocks)
        start = index * block_size
        wanted = holder.token_ids[start : min(start + block_size, limit)]
        if not self._at_work or not wanted:
            return False
        for other in self._at_work.get(holder.parent_hash(index), ()):
            if other.rank < holder.rank:
                common = common_run(other.token_ids[start : start + len(wanted)], wanted)
                num_more = start + common - match.num_tokens
                # Behind a whole block in common there may be others.
                if num_more >= MIN_AWAITED or (num_more > 0 and common == block_size):
                    return True
        return False

    # --- having -------------------------------------------------------------------------------------

    def claim(self, match: Match) -> None:
        """Keep what was found from being allocated."""
        self.pool.share(match.claimed)

    def copy(self, holder: H, match: Match, target: int) -> None:
        """Plan the copy of a claimed match into a block of the holder."""
        assert match.source is not None
        self._copies[holder] = BlockCopy(match.source, target)

    @property
    def copies(self) -> Sequence[BlockCopy]:
        return tuple(self._copies.values()) if self._copies else ()

    def finish_copies(self) -> None:
        """They are made."""
        for copy in self._copies.values():
            self.pool.release([copy.source])
        self._copies.clear()

    # --- giving -------------------------------------------------------------------------------------

    def begin(self, holder: H) -> None:
        """From now on others find what it computes, and see what it is going to."""
        if self.pool.enable_prefix_caching:
            self._ends[holder] = end = len(holder.hash_full_blocks(self.pool.block_size)) + 1
            for index in range(holder.num_committed_blocks, end):
                self._at_work.setdefault(holder.parent_hash(index), []).append(holder)

    def commit(self, holder: H) -> None:
        """Give the blocks that have become full their addresses."""
        num_full_blocks = holder.num_computed_tokens // self.pool.block_size
        if num_full_blocks == holder.num_committed_blocks or not self.pool.enable_prefix_caching:
            return
        hashes, end = holder.hash_full_blocks(self.pool.block_size), self._ends[holder]
        for index in range(holder.num_committed_blocks, num_full_blocks):
            self.pool.commit(holder.block_ids[index], hashes[index])
            self._hold(holder, index)
            if index < end:
                self._leave(holder, index)
        holder.num_committed_blocks = num_full_blocks
        if num_full_blocks >= end:
            self._ends[holder] = num_full_blocks + 1
            self._at_work.setdefault(hashes[num_full_blocks - 1], []).append(holder)

    def end(self, holder: H, *, forget: bool = False) -> None:
        """It is about to release its blocks; `forget`: what it has computed since its last full one is of no use."""
        end = self._ends.pop(holder, None)
        if end is None:
            return
        for index in range(holder.num_committed_blocks, end):
            self._leave(holder, index)
        copy = self._copies.pop(holder, None)
        if copy is not None:
            self.pool.release([copy.source])
        elif not forget:
            self._hold(holder, holder.num_committed_blocks)

    def _hold(self, holder: H, index: int) -> None:
        start = index * self.pool.block_size
        token_ids = holder.token_ids[start : min(start + self.pool.block_size, holder.num_computed_tokens)]
        if len(token_ids) >= MIN_COPIED:
            self.pool.hold(holder.block_ids[index], holder.parent_hash(index), token_ids)

    def _leave(self, holder: H, index: int) -> None:
        parent = holder.parent_hash(index)
        others = self._at_work[parent]
        if len(others) == 1:
            del self._at_work[parent]
        else:
            others.remove(holder)
