"""What blocks of the key-value cache hold behind the same parent, and who holds most of some tokens."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence


def common_run(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for count, (x, y) in enumerate(zip(one, other, strict=False)):
        if x != y:
            return count
    return min(len(one), len(other))


class BlockContents:
    """Finds the block that begins with most of some tokens, among those whose parent is the same.

    The blocks of a parent are sorted by their tokens, so that the one with most in common stands beside the place of
    what is looked for. None holds the beginning of another: the longer one stands for both.
    """

    def __init__(self) -> None:
        self._children: dict[bytes, tuple[list[bytes], list[int]]] = {}  # parent -> tokens and blocks, in one order
        self._place_of: dict[int, tuple[bytes, bytes]] = {}  # block -> parent, tokens

    def __contains__(self, block: int) -> bool:
        return block in self._place_of

    def add(self, block: int, parent: bytes, token_ids: Sequence[int]) -> int | None:
        """Note what a block holds. Returns the block that isn't of use any more, if there is one: this one, where
        another holds as much, or one that holds a part of it.
        """
        if block in self._place_of:
            return None
        tokens = array("i", token_ids).tobytes()
        if parent not in self._children:
            self._children[parent] = ([tokens], [block])
            self._place_of[block] = (parent, tokens)
            return None
        keys, blocks = self._children[parent]
        at = bisect_left(keys, tokens)
        if at < len(keys) and keys[at].startswith(tokens):
            return block
        self._place_of[block] = (parent, tokens)
        if at > 0 and tokens.startswith(keys[at - 1]):
            replaced = blocks[at - 1]
            del self._place_of[replaced]
            keys[at - 1], blocks[at - 1] = tokens, block
            return replaced
        keys.insert(at, tokens)
        blocks.insert(at, block)
        return None

    def find(self, parent: bytes, token_ids: Sequence[int]) -> tuple[int, int] | None:
        """A block that begins with as many of these tokens as any does, and how many those are."""
        if parent not in self._children:
            return None
        keys, blocks = self._children[parent]
        at = bisect_left(keys, array("i", token_ids).tobytes())
        beside = range(max(at - 1, 0), min(at + 1, len(keys)))
        count, best = max((common_run(array("i", keys[i]), token_ids), i) for i in beside)
        return blocks[best], count

    def remove(self, block: int) -> None:
        place = self._place_of.pop(block, None)
        if place is None:
            return
        parent, tokens = place
        keys, blocks = self._children[parent]
        at = bisect_left(keys, tokens)
        del keys[at], blocks[at]
        if not keys:
            del self._children[parent]
