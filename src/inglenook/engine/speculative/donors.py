"""Indexes of other requests, found by the beginning that they share: a question that is asked again, several answers
to one prompt, the same instructions over another document."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.engine.speculative.ngram_index import NgramIndex

MAX_TOKENS = 65536  # of all indexes that are kept (about 100 bytes each)
MAX_KEPT = 256  # indexes: each is compared with every new request
MAX_FOUND = 2


class Donors:
    """The latest indexes, by the hashes of their prompts' blocks: what has another salt is never found."""

    def __init__(self) -> None:
        self._kept: list[tuple[Sequence[bytes], NgramIndex]] = []  # the oldest first

    def add(self, hashes: Sequence[bytes], index: NgramIndex) -> None:
        """`hashes` are those of the full blocks of its prompt. The index may go on growing."""
        if not hashes:
            return
        self._kept.append((hashes, index))
        num_tokens = sum(len(kept.tokens) for _, kept in self._kept)
        while (num_tokens > MAX_TOKENS and len(self._kept) > 1) or len(self._kept) > MAX_KEPT:
            num_tokens -= len(self._kept.pop(0)[1].tokens)

    def find(self, hashes: Sequence[bytes]) -> list[NgramIndex]:
        """Those that share most blocks with a prompt of these, the latest first; at least one is shared."""
        shared = [(_num_shared(hashes, kept), index) for kept, index in reversed(self._kept)]
        shared.sort(key=lambda entry: -entry[0])
        return [index for count, index in shared[:MAX_FOUND] if count > 0]


def _num_shared(hashes: Sequence[bytes], others: Sequence[bytes]) -> int:
    """How many leading blocks are the same. A hash stands for all before it, so halving finds the last one."""
    low, high = 0, min(len(hashes), len(others))
    while low < high:
        middle = (low + high + 1) // 2
        if hashes[middle - 1] == others[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low
