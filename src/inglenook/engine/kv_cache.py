"""Which block of the key-value cache holds what: a pool with reference counts, and content found by hash."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from inglenook.engine.block_contents import BlockContents

HASH_BYTES = 16  # a collision would mix two users' data, so the hash is a cryptographic one of 128 bits


def root_hash(salt: str) -> bytes:
    """What the first block's hash is chained to. Requests with different salts share nothing."""
    return hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES, person=b"kv-root").digest()


def block_hash(parent: bytes, token_ids: Sequence[int]) -> bytes:
    """The address of a full block: its tokens and, through `parent`, all tokens before them."""
    return hashlib.blake2b(parent + array("i", token_ids).tobytes(), digest_size=HASH_BYTES).digest()


class BlockPool:
    """Counts who uses each block, and finds computed blocks by their hash, or by the tokens that they begin with.

    A block that nobody uses is free, yet keeps its content and its address until it is allocated again: those of which
    nothing is known first, then the least recently used. Not thread-safe.
    """

    def __init__(self, num_blocks: int, block_size: int, *, enable_prefix_caching: bool = True) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.enable_prefix_caching = enable_prefix_caching
        self.contents = BlockContents()
        self._num_users = [0] * num_blocks
        self._hash_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))  # next to be allocated first

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def usage(self) -> float:
        """Share of the blocks in use, 0 to 1."""
        return 1.0 - len(self._free) / self.num_blocks

    def match(self, hashes: Iterable[bytes]) -> list[int]:
        """The blocks that hold the longest run of `hashes` from the first on. They aren't claimed by this."""
        blocks = []
        for digest in hashes:
            block = self._block_of.get(digest)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def count_unused(self, blocks: Iterable[int]) -> int:
        """How many of these blocks are free, and so would be taken from the free ones by sharing them."""
        return sum(self._num_users[block] == 0 for block in blocks)

    def share(self, blocks: Iterable[int]) -> None:
        """Become one more user of blocks that `match` found."""
        for block in blocks:
            self._num_users[block] += 1
            if self._num_users[block] == 1:
                del self._free[block]

    def allocate(self, count: int) -> list[int]:
        """Take `count` free blocks; their old content is no longer found. The caller has checked num_free."""
        assert count <= len(self._free)
        blocks = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self._num_users[block] = 1
            self._drop_content(block)
        return blocks

    def commit(self, block: int, digest: bytes) -> None:
        """Give a computed, full block its address. Where another block has it already, that one keeps it."""
        if self._block_of.setdefault(digest, block) == block:
            self._hash_of[block] = digest

    def hold(self, block: int, parent: bytes, token_ids: Sequence[int]) -> None:
        """Note what a block begins with, be it full or not, behind those with the hash `parent`. Nobody may write there
        any more.
        """
        useless = self.contents.add(block, parent, token_ids)
        if useless is not None and useless in self._free:
            self._free.move_to_end(useless, last=False)

    def release(self, blocks: Sequence[int], *, forget: bool = False) -> None:
        """Stop using a sequence's blocks, given from its first to its last.

        The last is reused first: a beginning is of use to more requests than an end. `forget` takes away what is known
        of those that nobody else uses, where their content can't be trusted.
        """
        for block in reversed(blocks):
            self._num_users[block] -= 1
            assert self._num_users[block] >= 0
            if self._num_users[block] > 0:
                continue
            if forget:
                self._drop_content(block)
            self._free[block] = None
            if self._hash_of[block] is None and block not in self.contents:
                self._free.move_to_end(block, last=False)

    def _drop_content(self, block: int) -> None:
        self.contents.remove(block)
        digest = self._hash_of[block]
        if digest is not None:
            del self._block_of[digest]
            self._hash_of[block] = None


class BlockTables:
    """The block numbers of every running sequence, one row each, in the form that the kernels read."""

    def __init__(self, num_rows: int, blocks_per_row: int) -> None:
        self.array: npt.NDArray[np.int32] = np.zeros((num_rows, blocks_per_row), np.int32)
        self._free_rows = list(range(num_rows))

    def claim_row(self) -> int:
        return self._free_rows.pop()

    def free_row(self, row: int) -> None:
        self._free_rows.append(row)

    def write(self, row: int, first: int, blocks: Sequence[int]) -> None:
        """Set columns [first, first + len(blocks)). What stands behind them is left over and never read."""
        if len(blocks) == 1:
            self.array[row, first] = blocks[0]
        else:
            self.array[row, first : first + len(blocks)] = blocks
