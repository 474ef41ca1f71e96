"""What native.py and torch.py have in common: a step's input, the cache that steps share, how a program is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from inglenook.ops.program import Program

CacheDType = Literal["f32", "f16", "bf16", "q8"]


@dataclass(frozen=True)
class CacheSpec:
    """The paged key-value cache: `num_blocks` blocks of `block_size` tokens in every layer.

    bf16 rounds queries, keys, values and probabilities to bfloat16, which processors multiply fastest. So does q8, but
    keeps keys and values as int8 codes with a float32 scale per token and head: scale = max |x| / 127.
    """

    num_blocks: int
    block_size: int
    dtype: CacheDType


def kv_bytes_per_block(program: Program, cache: CacheSpec) -> int:
    """Bytes of one block of the cache, keys and values of all layers."""
    value_bytes = {"f32": 4, "f16": 2, "bf16": 2, "q8": 1}[cache.dtype]
    scale_bytes = 4 if cache.dtype == "q8" else 0
    return cache.block_size * sum(
        2 * spec.num_kv_heads * (-(-spec.head_dim // 16) * 16 * value_bytes + scale_bytes) for spec in program.kv_layers
    )


@dataclass(frozen=True)
class StepInput:
    """Everything that one step reads besides weights and cache. All arrays are C-contiguous int32.

    Rows query_starts[s] to query_starts[s + 1] belong to sequence s; they are its last tokens, so that their
    positions end at context_lengths[s] - 1. A slot is block * block_size + offset in the block.
    """

    token_ids: npt.NDArray[np.int32]  # [num_tokens]
    positions: npt.NDArray[np.int32]  # [num_tokens]
    slot_mapping: npt.NDArray[np.int32]  # [num_tokens]
    query_starts: npt.NDArray[np.int32]  # [num_sequences + 1]
    context_lengths: npt.NDArray[np.int32]  # [num_sequences], this step's tokens included
    block_tables: npt.NDArray[np.int32]  # [num_sequences, most blocks of any]
    selected_rows: npt.NDArray[np.int32]  # [num_selected], ascending rows whose logits are wanted
    token_type_ids: npt.NDArray[np.int32] | None = None  # [num_tokens]; None: all 0


class BlockCopy(NamedTuple):
    """Blocks of the cache, by number."""

    source: int
    target: int


class Executor(Protocol):
    """Replays a program. Not thread-safe: one thread at a time calls it."""

    def run(self, step: StepInput) -> npt.NDArray[np.float32]:
        """Run one step; returns the output, [num_selected, width], valid until the next call."""
        ...

    def copy_blocks(self, copies: Sequence[BlockCopy]) -> None:
        """Copy whole blocks of the cache, keys and values of all layers, one after another."""
        ...

    def close(self) -> None:
        """Free weights, cache and threads."""
        ...
