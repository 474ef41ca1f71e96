"""The flat layout of a step against a plain numpy version of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.ops import _native
from inglenook.ops.step_layout import lay_out_step

NUM_ROWS, BLOCKS_PER_ROW, BLOCK_SIZE = 5, 6, 4


@st.composite
def chunks(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Row, start, count, number of selected tokens."""
    start = draw(st.integers(0, BLOCKS_PER_ROW * BLOCK_SIZE - 1))
    count = draw(st.integers(1, BLOCKS_PER_ROW * BLOCK_SIZE - start))
    return draw(st.integers(0, NUM_ROWS - 1)), start, count, draw(st.integers(0, count))


@given(st.lists(chunks(), min_size=1, max_size=6), st.integers(0, 2**31))
def test_layout(drawn: list[tuple[int, int, int, int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    tables = random.integers(0, 1000, (NUM_ROWS, BLOCKS_PER_ROW), dtype=np.int32)
    rows, starts, counts, num_selected = (list(column) for column in zip(*drawn, strict=True))
    token_ids = random.integers(0, 50_000, sum(counts)).tolist()
    x = lay_out_step(token_ids, rows, starts, counts, num_selected, block_tables=tables, block_size=BLOCK_SIZE)

    ends = np.cumsum(counts)
    positions = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, counts, strict=True)])
    blocks = tables[np.repeat(rows, counts), positions // BLOCK_SIZE]
    context_lengths = np.add(starts, counts)
    assert x.token_ids.tolist() == token_ids
    assert x.positions.tolist() == positions.tolist()
    assert x.slot_mapping.tolist() == (blocks * BLOCK_SIZE + positions % BLOCK_SIZE).tolist()
    assert x.query_starts.tolist() == [0, *ends.tolist()]
    assert x.context_lengths.tolist() == context_lengths.tolist()
    most_blocks = -(-int(context_lengths.max()) // BLOCK_SIZE)
    assert x.block_tables.tolist() == tables[rows, :most_blocks].tolist()
    selected = [row for e, k in zip(ends.tolist(), num_selected, strict=True) for row in range(e - k, e)]
    assert x.selected_rows.tolist() == selected
    assert x.token_type_ids is None
    for array in (values for name, values in vars(x).items() if name != "token_type_ids"):
        assert array.dtype == np.int32 and array.flags.c_contiguous


GOOD: list[list[int]] = [[7, 8], [1], [0], [2], [1]]  # token ids, rows, starts, counts, selected


@pytest.mark.parametrize(
    ("which", "wrong"),
    [(0, [7]), (1, [5]), (1, [-1]), (1, []), (2, [-1]), (2, [23]), (3, [0]), (3, [-2]), (3, [25]), (4, [3]), (4, [-1])],
)
def test_chunks_that_do_not_fit(which: int, wrong: list[int]) -> None:
    tables = np.zeros((NUM_ROWS, BLOCKS_PER_ROW), np.int32)
    _native.lay_out_step(*GOOD, tables, BLOCK_SIZE)
    with pytest.raises(ValueError, match=r"chunk|token id"):
        _native.lay_out_step(*GOOD[:which], wrong, *GOOD[which + 1 :], tables, BLOCK_SIZE)
