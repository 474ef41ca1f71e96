"""What one step computes: a list of chunks, and the arrays that an executor reads for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inglenook.engine.sequence import Sequence
from inglenook.ops.program import StepInput


class ScheduledChunk(NamedTuple):
    """Tokens [start, start + num_tokens) of a sequence; `is_sampled` where they are its last known ones."""

    sequence: Sequence
    start: int
    num_tokens: int
    is_sampled: bool


@dataclass(frozen=True)
class ScheduledStep:
    """`block_tables` is the scheduler's, [max_num_seqs, most blocks]; a chunk's is the row of its sequence."""

    chunks: list[ScheduledChunk]
    block_tables: npt.NDArray[np.int32]
    block_size: int

    @property
    def sampled(self) -> list[Sequence]:
        """The sequences that get a token from this step, in the order of its output rows."""
        return [chunk.sequence for chunk in self.chunks if chunk.is_sampled]


def build_step_input(step: ScheduledStep) -> StepInput:
    """Lay the chunks' tokens out flat, one chunk after another."""
    sequences, starts_list, counts_list, is_sampled_list = zip(*step.chunks, strict=True)
    token_ids: list[int] = []
    for sequence, start, num_tokens, _ in step.chunks:
        if num_tokens == 1:
            token_ids.append(sequence.token_ids[start])
        else:
            token_ids.extend(sequence.token_ids[start : start + num_tokens])
    rows = np.array([sequence.row for sequence in sequences], np.int32)
    starts = np.array(starts_list, np.int32)
    counts = np.array(counts_list, np.int32)
    is_sampled = np.array(is_sampled_list, np.bool_)

    query_starts = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=query_starts[1:])
    context_lengths = starts + counts
    positions = np.arange(len(token_ids), dtype=np.int32) + np.repeat(starts - query_starts[:-1], counts)
    columns, offsets = np.divmod(positions, np.int32(step.block_size))
    blocks = step.block_tables[np.repeat(rows, counts), columns]
    most_blocks = -(-int(context_lengths.max()) // step.block_size)
    return StepInput(
        token_ids=np.array(token_ids, np.int32),
        positions=positions,
        slot_mapping=blocks * np.int32(step.block_size) + offsets,
        query_starts=query_starts,
        context_lengths=context_lengths,
        block_tables=np.ascontiguousarray(step.block_tables[rows, :most_blocks]),
        selected_rows=query_starts[1:][is_sampled] - np.int32(1),
    )
