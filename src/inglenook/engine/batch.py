"""What one step computes: a list of chunks, and the arrays that an executor reads for it."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inglenook.engine.sequence import Sequence
from inglenook.ops.executor import BlockCopy, StepInput
from inglenook.ops.step_layout import lay_out_step


class ScheduledChunk(NamedTuple):
    """Tokens [start, start + num_tokens) of a sequence; `is_sampled` where they are its last known ones.

    The first `num_scored` of the prompt whose logits are wanted and unknown are among them; with those that are sampled
    they are its last. `drafts` are what is thought to follow them, or what the guide forces: counted in num_tokens, no
    part of the sequence yet, and sampled, too.
    """

    sequence: Sequence
    start: int
    num_tokens: int
    is_sampled: bool
    drafts: tuple[int, ...] = ()
    num_scored: int = 0

    @property
    def num_known(self) -> int:
        """Tokens that are part of the sequence."""
        return self.num_tokens - len(self.drafts)


@dataclass(frozen=True)
class ScheduledStep:
    """`block_tables` is the scheduler's, [max_num_seqs, most blocks]; a chunk's is the row of its sequence.

    The first `num_decodes` chunks are of sequences that are decoding, the others of prompts. `copies` are made before
    anything is computed.
    """

    chunks: list[ScheduledChunk]
    num_decodes: int
    block_tables: npt.NDArray[np.int32]
    block_size: int
    num_scored: int = 0  # of all chunks
    copies: SequenceOf[BlockCopy] = ()

    @property
    def sampled(self) -> list[Sequence]:
        """The sequences that get tokens from this step, in the order of its output rows: one, and one a draft.

        A chunk's scored rows come before its sampled ones.
        """
        return [chunk.sequence for chunk in self.chunks if chunk.is_sampled]

    @property
    def drafts(self) -> list[tuple[int, ...]] | None:
        """Those of each of `sampled`; None where there are none."""
        if not any(chunk.drafts for chunk in self.chunks):
            return None
        return [chunk.drafts for chunk in self.chunks if chunk.is_sampled]


def build_step_input(step: ScheduledStep) -> StepInput:
    """Lay the chunks' tokens out flat, one chunk after another."""
    token_ids: list[int] = []
    rows: list[int] = []
    starts: list[int] = []
    counts: list[int] = []
    num_selected: list[int] = []
    for sequence, start, num_tokens, is_sampled, drafts, num_scored in step.chunks:
        assert sequence.row is not None
        if num_tokens == 1:
            token_ids.append(sequence.token_ids[start])
        else:
            token_ids.extend(sequence.token_ids[start : start + num_tokens])
            token_ids.extend(drafts)
        rows.append(sequence.row)
        starts.append(start)
        counts.append(num_tokens)
        num_selected.append(num_scored + (1 + len(drafts) if is_sampled else 0))
    return lay_out_step(
        token_ids, rows, starts, counts, num_selected, block_tables=step.block_tables, block_size=step.block_size
    )
