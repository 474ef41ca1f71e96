"""Prompt lookup: drafts are copied from where the last tokens have stood before, in the request or in one like it."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

from inglenook.engine.sequence import Sequence
from inglenook.engine.speculative.acceptance import Acceptance
from inglenook.engine.speculative.donors import Donors
from inglenook.engine.speculative.lookup import Lookup
from inglenook.engine.speculative.ngram_index import NgramIndex


class NgramDrafter:
    """Implements Drafter. `block_size` is that of the cached prefixes by which requests share what they have seen;
    None: they don't."""

    def __init__(self, *, min_length: int, max_length: int, block_size: int | None) -> None:
        self._min_length = min_length
        self._max_length = max_length
        self._block_size = block_size
        self._rates = Acceptance()
        self._donors = Donors()
        self._lookups: dict[Sequence, Lookup] = {}

    def prepare(self, sequences: SequenceOf[Sequence], step_seconds: float, rows_seconds: float) -> None: ...

    def chances(self, sequence: Sequence, limit: int) -> SequenceOf[float]:
        lookup = self._lookups.get(sequence)
        if lookup is None:
            lookup = self._lookups[sequence] = self._make_lookup(sequence)
        lookup.advance()
        return lookup.chances(limit)

    def draft(self, wishes: SequenceOf[tuple[Sequence, int]]) -> list[tuple[int, ...]]:
        return [self._lookups[sequence].draft(num_tokens) for sequence, num_tokens in wishes]

    def seconds(self, num_tokens: int) -> float:
        return 0.0

    def learn(self, sequence: Sequence, num_drafted: int, num_accepted: int) -> None:
        """Nothing: the next look sees which guesses were right, also of those that weren't tried."""

    def forget(self, sequence: Sequence) -> None:
        lookup = self._lookups.pop(sequence, None)
        if lookup is not None:
            lookup.advance()  # for those who find its tokens later

    def close(self) -> None:
        self._lookups.clear()

    def _make_lookup(self, sequence: Sequence) -> Lookup:
        index = NgramIndex(sequence.token_ids, min_length=self._min_length, max_length=self._max_length)
        donors: list[NgramIndex] = []
        if self._block_size is not None:
            num_blocks = len(sequence.request.prompt_token_ids) // self._block_size
            hashes = sequence.hash_full_blocks(self._block_size)[:num_blocks]
            donors = self._donors.find(hashes)
            self._donors.add(hashes, index)
        return Lookup(index, donors, Acceptance(self._rates))
