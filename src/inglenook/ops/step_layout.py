"""Lays the chunks of a step out as an executor reads them: the Python face of native/src/step_layout.cpp."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inglenook.ops import _native
from inglenook.ops.executor import StepInput


def lay_out_step(
    token_ids: list[int],
    rows: list[int],
    starts: list[int],
    counts: list[int],
    num_selected: list[int],
    *,
    block_tables: npt.NDArray[np.int32],
    block_size: int,
) -> StepInput:
    """Sequence i computes its tokens [starts[i], starts[i] + counts[i]); its blocks are block_tables[rows[i]].

    `token_ids` holds the tokens of all, one sequence after another. The last num_selected[i] of them get logits.
    """
    array, selected, max_blocks = _native.lay_out_step(
        token_ids, rows, starts, counts, num_selected, block_tables, block_size
    )
    num_tokens, num_sequences = len(token_ids), len(rows)
    # The parts of one array: making seven takes longer than filling them.
    query_starts = 3 * num_tokens
    context_lengths = query_starts + num_sequences + 1
    tables = context_lengths + num_sequences
    selected_rows = tables + num_sequences * max_blocks
    return StepInput(
        token_ids=array[:num_tokens],
        positions=array[num_tokens : 2 * num_tokens],
        slot_mapping=array[2 * num_tokens : query_starts],
        query_starts=array[query_starts:context_lengths],
        context_lengths=array[context_lengths:tables],
        block_tables=array[tables:selected_rows].reshape(num_sequences, max_blocks),
        selected_rows=array[selected_rows : selected_rows + selected],
    )
