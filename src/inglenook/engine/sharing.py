"""Several models in one process: how the memory is shared out before any of them is loaded.

Weights and working memory come first, then what was asked for by name (a cache of so many bytes, a context of so many
tokens, or else the shortest context that is chosen at all). What is left goes to the caches in equal parts, but to none
more than it can use. Each model then makes its plan within its share, as if it were alone on a smaller machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inglenook.config import EngineSettings
from inglenook.engine.memory import AvailableMemory
from inglenook.engine.plan import (
    CACHE_SHARE,
    CONTEXT_SHARE,
    MIN_CONTEXT,
    RESERVE_BYTES,
    TOKENS_PER_SEQUENCE,
    Budget,
    MemoryNeeds,
    format_bytes,
)
from inglenook.errors import OutOfMemoryError


@dataclass(frozen=True)
class Claim:
    """What one of the models asks for."""

    model: str  # its name
    settings: EngineSettings
    needs: MemoryNeeds
    max_model_len: int | None  # tokens: the context that was asked for
    model_max_len: int  # tokens: the model's own

    @property
    def fixed(self) -> int:
        """Bytes that it takes whatever its cache is."""
        needs = self.needs
        return needs.weights + needs.activations + (needs.draft.fixed if needs.draft else 0) + RESERVE_BYTES

    @property
    def least(self) -> int:
        """Bytes for the cache without which it doesn't start."""
        if not self._budget.block_bytes:
            return 0
        if self.settings.kv_cache_memory_bytes is not None:
            return self.settings.kv_cache_memory_bytes
        if self.max_model_len is not None:
            return self._budget.cache_bytes(self.max_model_len)
        return _room(self._budget.cache_bytes(min(MIN_CONTEXT, self.model_max_len)), CONTEXT_SHARE)

    @property
    def most(self) -> int:
        """Bytes for the cache beyond which its plan would be the same."""
        if not self._budget.block_bytes or self.settings.kv_cache_memory_bytes is not None:
            return self.least
        context = self.max_model_len or self.model_max_len
        tokens = self.settings.max_num_seqs * min(context, TOKENS_PER_SEQUENCE)
        whole = 0 if self.max_model_len is not None else _room(self._budget.cache_bytes(context), CONTEXT_SHARE)
        return max(self.least, whole, _room(self._budget.cache_bytes(tokens), CACHE_SHARE))

    @property
    def _budget(self) -> Budget:
        return Budget(self.needs, AvailableMemory(0, ""), self.settings.block_size)


def share_memory(claims: Sequence[Claim], available: AvailableMemory) -> list[AvailableMemory]:
    """What each of the models may take. Raises OutOfMemoryError, with what would fit, where they don't fit together."""
    room = available.num_bytes - sum(claim.fixed for claim in claims)
    if room < sum(claim.least for claim in claims):
        raise _refuse(claims, available)
    source = f"its share of the {format_bytes(available.num_bytes)} {available.source}"
    return [
        AvailableMemory(claim.fixed + part, source) for claim, part in zip(claims, _parts(claims, room), strict=True)
    ]


def _parts(claims: Sequence[Claim], room: int) -> list[int]:
    """The highest level that the room allows: every cache has that much, its most where that is less, or its least."""
    low, high = 0, max((claim.most for claim in claims), default=0)

    def at(level: int) -> list[int]:
        return [min(max(level, claim.least), claim.most) for claim in claims]

    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(at(middle)) <= room else (low, middle - 1)
    return at(low)


def _room(cache_bytes: int, share: float) -> int:
    """The room of which the cache is that share; a byte more, as the plan rounds down."""
    return math.ceil(cache_bytes / share) + 1


def _refuse(claims: Sequence[Claim], available: AvailableMemory) -> OutOfMemoryError:
    needed = sum(claim.fixed + claim.least for claim in claims)
    missing = needed - available.num_bytes
    each = "; ".join(_in_words(claim) for claim in claims)
    fits = [f"the others without {claim.model}" for claim in claims if claim.fixed + claim.least >= missing]
    for claim in claims:
        for name, weights in claim.needs.quantized_weights.items():
            if claim.needs.weights - weights >= missing:
                fits.append(f"{name} weights for {claim.model} (quantization)")
    for claim in claims:
        shorter = replace(claim, max_model_len=None, settings=replace(claim.settings, kv_cache_memory_bytes=None))
        if claim.least - shorter.least >= missing:
            fits.append(f"a smaller cache for {claim.model} (max_model_len, kv_cache_memory_bytes)")
    return OutOfMemoryError(
        f"The models need {format_bytes(needed)} together at the least, and {format_bytes(available.num_bytes)} are "
        f"{available.source}, {format_bytes(missing)} too few. {each}. "
        + (f"What would fit: {'; '.join(fits)}." if fits else "Free memory, or serve smaller models.")
    )


def _in_words(claim: Claim) -> str:
    others = claim.fixed - claim.needs.weights
    return (
        f"{claim.model}: {format_bytes(claim.needs.weights)} of weights, "
        f"{format_bytes(claim.least)} of key-value cache, {format_bytes(others)} of working memory and reserve"
    )
