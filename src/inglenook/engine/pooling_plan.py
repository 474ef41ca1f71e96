"""The memory plan of a pooling engine: the longest input and what a step takes. It keeps nothing from step to step, so
that its cache is as large as a step, and several models fit beside each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inglenook.config import EngineSettings
from inglenook.engine.memory import AvailableMemory
from inglenook.engine.plan import CONTEXT_SHARE, MIN_CONTEXT, RESERVE_BYTES, Plan, format_bytes
from inglenook.errors import ConfigError, OutOfMemoryError


@dataclass(frozen=True)
class PoolingNeeds:
    """Bytes. `activations` is working memory beside weights and cache, by the tokens of a step."""

    weights: int
    activations: Callable[[int], int]
    kv_per_block: int
    needs_whole_sequences: bool


@dataclass(frozen=True)
class StepSizes:
    max_num_tokens: int
    num_blocks: int


def step_sizes(engine: EngineSettings, needs_whole_sequences: bool, max_model_len: int) -> StepSizes:
    """Of inputs up to this length. Each sequence of a step may leave a block half empty."""
    max_num_tokens = engine.max_num_batched_tokens
    num_tokens = max_num_tokens = max(max_num_tokens, max_model_len) if needs_whole_sequences else max_num_tokens
    if not needs_whole_sequences:  # a long input keeps its blocks while its chunks are computed
        num_tokens += max_model_len
    return StepSizes(max_num_tokens, -(-num_tokens // engine.block_size) + engine.max_num_seqs)


def make_pooling_plan(
    engine: EngineSettings,
    needs: PoolingNeeds,
    available: AvailableMemory,
    *,
    max_model_len: int | None,
    own_length: int,
    longest: int,
    model: str = "",
    weight_format: str = "",
    kv_dtype: str = "f32",
) -> Plan:
    """`own_length` is what is chosen where it fits, `longest` what may be asked for.

    Raises ConfigError where max_model_len is more than that, OutOfMemoryError where nothing or not the wish fits.
    """
    if max_model_len is not None and not 1 <= max_model_len <= longest:
        raise ConfigError(
            f"max_model_len is {max_model_len}, but the model takes inputs of at most {longest} tokens. "
            f"Give at most {longest}, or leave it out.",
            param="max_model_len",
        )

    def plan_for(length: int) -> Plan:
        sizes = step_sizes(engine, needs.needs_whole_sequences, length)
        return Plan(
            model=model,
            weight_format=weight_format,
            available=available,
            weights=needs.weights,
            activations=needs.activations(sizes.max_num_tokens),
            reserve=RESERVE_BYTES,
            kv_per_block=needs.kv_per_block,
            kv_dtype=kv_dtype,
            block_size=engine.block_size,
            num_blocks=sizes.num_blocks,
            max_model_len=length,
            model_max_len=longest,
        )

    lengths = [own_length]
    while lengths[-1] // 2 >= MIN_CONTEXT:
        lengths.append(lengths[-1] // 2)
    if max_model_len is not None:
        plan = plan_for(max_model_len)
        if plan.total <= available.num_bytes:
            return plan
    else:
        for length in lengths:
            plan = plan_for(length)
            beside_weights = available.num_bytes - plan.weights - plan.reserve
            if plan.kv_cache + plan.activations <= CONTEXT_SHARE * beside_weights:
                return plan
    fitting = next((n for n in lengths if plan_for(n).total <= available.num_bytes), None)
    what_fits = "Free memory, or take a smaller model."
    if fitting is not None:
        what_fits = f"What would fit: inputs of {fitting} tokens (--max-model-len {fitting})."
    raise OutOfMemoryError(
        f"Inputs of {plan.max_model_len} tokens need {format_bytes(plan.activations + plan.kv_cache)} of working "
        f"memory, beside {format_bytes(plan.weights)} of weights and {format_bytes(plan.reserve)} of reserve; "
        f"{format_bytes(available.num_bytes)} are {available.source}. {what_fits}"
    )
