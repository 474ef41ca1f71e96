"""What is to be pooled: inputs waiting in order, and the choice of what the next step computes of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inglenook.engine.kv_cache import BlockPool, BlockTables

Row = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PoolingInput:
    """One sequence of tokens. Its token types are all 0 where none are given; only BERT and its like have others."""

    token_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...] | None = None


@dataclass(eq=False, slots=True)
class PoolingJob:
    """The inputs that somebody waits for together."""

    inputs: Sequence[PoolingInput]
    priority: int
    future: Future[list[Row]] = field(default_factory=Future)
    rows: list[Row | None] = field(init=False)
    num_missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [None] * len(self.inputs)
        self.num_missing = len(self.inputs)

    @property
    def is_over(self) -> bool:
        """Answered, failed or cancelled."""
        return self.future.done()


@dataclass(eq=False, slots=True)
class PoolingItem:
    """One input of a job, and how far it is computed."""

    job: PoolingJob
    index: int
    row: int = -1  # of the block tables, while it is being computed
    blocks: list[int] = field(default_factory=list)
    num_computed: int = 0

    @property
    def input(self) -> PoolingInput:
        return self.job.inputs[self.index]

    @property
    def num_left(self) -> int:
        return len(self.input.token_ids) - self.num_computed


class PoolingChunk(NamedTuple):
    """Tokens [start, start + num_tokens) of an input; `is_last` where they are the last ones."""

    item: PoolingItem
    start: int
    num_tokens: int
    is_last: bool


class PoolingQueue:
    """Lower priority first, then by arrival: the first of all is in every step, so that nothing waits for ever.

    `in_chunks` allows an input to be cut over several steps; its blocks are its own meanwhile. An input that is longer
    than a step can't be there otherwise. Not thread-safe.
    """

    def __init__(
        self, *, max_num_tokens: int, max_num_seqs: int, num_blocks: int, block_size: int, in_chunks: bool
    ) -> None:
        self.max_num_tokens = max_num_tokens
        self.max_num_seqs = max_num_seqs
        self.block_size = block_size
        self.in_chunks = in_chunks
        self.pool = BlockPool(num_blocks, block_size, enable_prefix_caching=False)
        self.tables = BlockTables(max_num_seqs, num_blocks)
        self.running: list[PoolingItem] = []
        self._waiting: list[tuple[int, int, PoolingItem]] = []
        self._arrival = count()

    @property
    def num_waiting(self) -> int:
        return sum(not item.job.is_over for _, _, item in self._waiting)

    def add(self, job: PoolingJob) -> None:
        for index in range(len(job.inputs)):
            heapq.heappush(self._waiting, (job.priority, next(self._arrival), PoolingItem(job, index)))

    def has_work(self) -> bool:
        return bool(self.running or self._waiting)

    def next_chunks(self) -> list[PoolingChunk]:
        """What the next step computes; empty where all that was there is over. `finish_step` comes after it."""
        for item in [item for item in self.running if item.job.is_over]:
            self._release(item)
        left = self.max_num_tokens
        chunks: list[PoolingChunk] = []
        for item in self.running:
            left -= self._take(item, left, chunks)
        while self._waiting and len(self.running) < self.max_num_seqs:
            item = self._waiting[0][2]
            if not item.job.is_over:
                if not self._can_begin(item, left):
                    break
                self._begin(item)
                left -= self._take(item, left, chunks)
            heapq.heappop(self._waiting)
        return chunks

    def finish_step(self, chunks: Sequence[PoolingChunk]) -> None:
        """Take in that these were computed, and let go of the inputs that are done."""
        for item, start, num_tokens, is_last in chunks:
            item.num_computed = start + num_tokens
            if is_last:
                self._release(item)

    def _can_begin(self, item: PoolingItem, left: int) -> bool:
        has_blocks = self._num_blocks(item) <= self.pool.num_free
        return has_blocks and left >= (1 if self.in_chunks else item.num_left)

    def _num_blocks(self, item: PoolingItem) -> int:
        return -(-len(item.input.token_ids) // self.block_size)

    def _begin(self, item: PoolingItem) -> None:
        item.blocks = self.pool.allocate(self._num_blocks(item))
        item.row = self.tables.claim_row()
        self.tables.write(item.row, 0, item.blocks)
        self.running.append(item)

    def _take(self, item: PoolingItem, left: int, chunks: list[PoolingChunk]) -> int:
        num_tokens = min(item.num_left, left)
        if num_tokens > 0:
            chunks.append(PoolingChunk(item, item.num_computed, num_tokens, num_tokens == item.num_left))
        return num_tokens

    def _release(self, item: PoolingItem) -> None:
        self.running.remove(item)
        self.pool.release(item.blocks)
        self.tables.free_row(item.row)
