"""The memory plan, made before anything is allocated: what goes where, how long the context is, how large the cache.

Without a wish from the user the context is the model's own, or the longest that fits; the cache then has room for
some sequences more. A wish is honoured to the letter or refused with what would fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from inglenook.config import EngineSettings, Quantization
from inglenook.engine.memory import AvailableMemory
from inglenook.errors import ConfigError, OutOfMemoryError

MIB = 2**20

RESERVE_BYTES = 128 * MIB  # for the interpreter, the tokenizer, requests and what the estimate doesn't see
CONTEXT_SHARE = 0.8  # of what is left beside the weights: at most that much is taken for one full context
CACHE_SHARE = 0.4  # the same, for a cache that holds more than one full context
TOKENS_PER_SEQUENCE = 1024  # what that larger cache has for each of max_num_seqs sequences
MIN_CONTEXT = 256  # tokens; a shorter context than this isn't chosen on our own


@dataclass(frozen=True)
class MemoryNeeds:
    """What a model takes, bytes. `quantized_weights`: what its weights would take if they were quantised at load."""

    weights: int
    activations: int
    kv_per_block: int
    quantized_weights: Mapping[Quantization, int] = field(default_factory=dict)
    draft: DraftNeeds | None = None


@dataclass(frozen=True)
class DraftNeeds:
    """What a draft model takes, bytes. It has a block for each of the model's; `model` is its name in words."""

    model: str
    weights: int
    activations: int
    kv_per_block: int

    @property
    def fixed(self) -> int:
        """Whatever the size of the cache."""
        return self.weights + self.activations


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes unless the name says otherwise. `model` and `weight_format` are words for people."""

    model: str
    weight_format: str
    available: AvailableMemory
    weights: int
    activations: int
    reserve: int
    kv_per_block: int  # of the model alone
    kv_dtype: str
    block_size: int  # tokens
    num_blocks: int
    max_model_len: int  # tokens: the context
    model_max_len: int  # tokens: the model's own
    draft: DraftNeeds | None = None

    @property
    def kv_cache(self) -> int:
        """Of both models, where one drafts."""
        return self.num_blocks * self.kv_per_block + self.draft_kv_cache

    @property
    def draft_kv_cache(self) -> int:
        return 0 if self.draft is None else self.num_blocks * self.draft.kv_per_block

    @property
    def num_cache_tokens(self) -> int:
        return self.num_blocks * self.block_size

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.draft_fixed + self.kv_cache + self.reserve

    @property
    def draft_fixed(self) -> int:
        """The draft model's weights and working memory."""
        return 0 if self.draft is None else self.draft.fixed

    def describe(self) -> list[tuple[str, str]]:
        """Name and value of each line to print."""
        is_own = self.max_model_len == self.model_max_len
        context = f"{self.max_model_len} tokens" + ("" if is_own else f" of the model's {self.model_max_len}")
        return [
            ("model", self.model),
            ("format", self.weight_format),
            *([] if self.draft is None else [("draft model", self.draft.model)]),
            ("context length", context),
            (
                "memory",
                f"{format_bytes(self.total)} of {format_bytes(self.available.num_bytes)} ({self.available.source})",
            ),
            ("  weights", format_bytes(self.weights)),
            ("  key-value cache", f"{format_bytes(self.kv_cache)}: {self.num_cache_tokens} tokens, {self.kv_dtype}"),
            ("  working memory", format_bytes(self.activations)),
            *self._describe_draft(),
            ("  reserve", format_bytes(self.reserve)),
        ]

    def _describe_draft(self) -> list[tuple[str, str]]:
        if self.draft is None:
            return []
        weights, activations = format_bytes(self.draft.weights), format_bytes(self.draft.activations)
        shared = f"{format_bytes(self.draft_kv_cache)} of the key-value cache are its"
        return [("  draft model", f"{weights} of weights, {activations} of working memory; {shared}")]


def make_plan(
    settings: EngineSettings,
    needs: MemoryNeeds,
    available: AvailableMemory,
    *,
    max_model_len: int | None,
    model_max_len: int,
    model: str = "",
    weight_format: str = "",
    kv_dtype: str = "bf16",
) -> Plan:
    """Choose context and cache.

    Raises ConfigError where max_model_len is more than the model's own context or a size is too small to use, and
    OutOfMemoryError, with what would fit, where the wishes or the weights don't fit.
    """
    if max_model_len is not None and not 1 <= max_model_len <= model_max_len:
        raise ConfigError(
            f"max_model_len is {max_model_len}, but the model's own context is {model_max_len} tokens. "
            f"Give at most {model_max_len}, or leave it out.",
            param="max_model_len",
        )
    budget = Budget(needs, available, settings.block_size)
    if settings.kv_cache_memory_bytes is not None:
        context, num_blocks = _fit_given_cache(budget, settings.kv_cache_memory_bytes, max_model_len, model_max_len)
    else:
        context = _fit_context(budget, max_model_len, model_max_len)
        num_blocks = _choose_num_blocks(budget, context, settings.max_num_seqs)
    return Plan(
        model=model,
        weight_format=weight_format,
        available=available,
        weights=needs.weights,
        activations=needs.activations,
        reserve=RESERVE_BYTES,
        kv_per_block=needs.kv_per_block,
        kv_dtype=kv_dtype,
        block_size=settings.block_size,
        num_blocks=num_blocks,
        max_model_len=context,
        model_max_len=model_max_len,
        draft=needs.draft,
    )


@dataclass(frozen=True)
class Budget:
    """What a model needs beside what there is."""

    needs: MemoryNeeds
    available: AvailableMemory
    block_size: int

    @property
    def room(self) -> int:
        """What is left for the cache; below zero where not even the weights fit."""
        draft = 0 if self.needs.draft is None else self.needs.draft.fixed
        return self.available.num_bytes - self.needs.weights - self.needs.activations - draft - RESERVE_BYTES

    @property
    def block_bytes(self) -> int:
        """A block of each model."""
        return self.needs.kv_per_block + (0 if self.needs.draft is None else self.needs.draft.kv_per_block)

    def blocks_in(self, num_bytes: float) -> int:
        return max(0, int(num_bytes)) // self.block_bytes

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def cache_bytes(self, num_tokens: int) -> int:
        return self.blocks_for(num_tokens) * self.block_bytes

    def refuse(self, wish: str, cache_bytes: int, *, is_cache_given: bool = False) -> OutOfMemoryError:
        """The error for a cache of this size that doesn't fit."""
        needs = self.needs
        fits = []
        num_blocks = self.blocks_in(self.room)
        if num_blocks > 0 and is_cache_given:
            num_bytes = num_blocks * self.block_bytes
            fits.append(f"a cache of {format_bytes(num_bytes)} (--kv-cache-memory-bytes {num_bytes})")
        elif num_blocks > 0:
            num_tokens = num_blocks * self.block_size
            fits.append(f"a context of {num_tokens} tokens (--max-model-len {num_tokens})")
        for name, weights in needs.quantized_weights.items():
            if needs.weights - weights + self.room >= cache_bytes:
                fits.append(f"{name} weights of {format_bytes(weights)} (--quantization {name})")
        draft = ""
        if needs.draft is not None:
            draft = f", {format_bytes(needs.draft.fixed)} of draft model"
            alone = replace(self, needs=replace(needs, draft=None))
            if alone.room >= (cache_bytes if is_cache_given else cache_bytes * needs.kv_per_block // self.block_bytes):
                fits.append("no draft model (--speculative-config ngram)")
        missing = cache_bytes - self.room
        return OutOfMemoryError(
            f"{wish} {format_bytes(cache_bytes)} of key-value cache, beside {format_bytes(needs.weights)} of weights, "
            f"{format_bytes(needs.activations)} of working memory{draft} and {format_bytes(RESERVE_BYTES)} of reserve; "
            f"{format_bytes(self.available.num_bytes)} are {self.available.source}, {format_bytes(missing)} too few. "
            + (f"What would fit: {'; '.join(fits)}." if fits else "Free memory, or take a smaller model.")
        )


def _fit_given_cache(
    budget: Budget, cache_bytes: int, max_model_len: int | None, model_max_len: int
) -> tuple[int, int]:
    """Context and blocks where the size of the cache is given."""
    num_blocks = budget.blocks_in(cache_bytes)
    if num_blocks == 0:
        raise ConfigError(
            f"kv_cache_memory_bytes is {cache_bytes}; one block of {budget.block_size} tokens takes "
            f"{budget.block_bytes}, so give at least that.",
            param="kv_cache_memory_bytes",
        )
    if cache_bytes > budget.room:
        raise budget.refuse("kv_cache_memory_bytes asks for", cache_bytes, is_cache_given=True)
    num_tokens = num_blocks * budget.block_size
    if max_model_len is not None and max_model_len > num_tokens:
        raise OutOfMemoryError(
            f"A context of {max_model_len} tokens needs {format_bytes(budget.cache_bytes(max_model_len))} of key-value "
            f"cache, and kv_cache_memory_bytes gives {format_bytes(cache_bytes)}. What would fit: a context of "
            f"{num_tokens} tokens (--max-model-len {num_tokens}), or a larger cache."
        )
    return max_model_len or min(model_max_len, num_tokens), num_blocks


def _fit_context(budget: Budget, max_model_len: int | None, model_max_len: int) -> int:
    if max_model_len is not None:
        if budget.cache_bytes(max_model_len) > budget.room:
            raise budget.refuse(f"A context of {max_model_len} tokens needs", budget.cache_bytes(max_model_len))
        return max_model_len
    context = min(model_max_len, budget.blocks_in(budget.room * CONTEXT_SHARE) * budget.block_size)
    shortest = min(MIN_CONTEXT, model_max_len)
    if context < shortest:
        wanted = int(budget.cache_bytes(shortest) / CONTEXT_SHARE)
        raise budget.refuse(f"The shortest context that is chosen on its own, {shortest} tokens, needs", wanted)
    return context


def _choose_num_blocks(budget: Budget, context: int, max_num_seqs: int) -> int:
    wanted = budget.blocks_for(max_num_seqs * min(context, TOKENS_PER_SEQUENCE))
    return max(budget.blocks_for(context), min(wanted, budget.blocks_in(budget.room * CACHE_SHARE)))


def format_bytes(num_bytes: int) -> str:
    """In MiB, or GiB from 1 GiB on."""
    sign, size = ("-", -num_bytes) if num_bytes < 0 else ("", num_bytes)
    return f"{sign}{size / 2**30:.2f} GiB" if size >= 2**30 else f"{sign}{size / 2**20:.1f} MiB"
