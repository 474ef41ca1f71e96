"""Computes the steps of a pooling engine on an executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inglenook.engine.pooling_queue import PoolingChunk, PoolingQueue, Row
from inglenook.ops.executor import Executor, StepInput
from inglenook.ops.step_layout import lay_out_step


class PoolingModelRunner:
    """Owns the executor; not thread-safe. `has_token_types`: the program reads them, and there are several."""

    def __init__(self, executor: Executor, *, has_token_types: bool) -> None:
        self._executor = executor
        self._has_token_types = has_token_types

    def run(self, chunks: Sequence[PoolingChunk], queue: PoolingQueue) -> Row:
        return self._executor.run(self._step_input(chunks, queue))

    def close(self) -> None:
        self._executor.close()

    def _step_input(self, chunks: Sequence[PoolingChunk], queue: PoolingQueue) -> StepInput:
        token_ids: list[int] = []
        for item, start, num_tokens, _ in chunks:
            token_ids += item.input.token_ids[start : start + num_tokens]
        step = lay_out_step(
            token_ids,
            [chunk.item.row for chunk in chunks],
            [chunk.start for chunk in chunks],
            [chunk.num_tokens for chunk in chunks],
            [int(chunk.is_last) for chunk in chunks],
            block_tables=queue.tables.array,
            block_size=queue.block_size,
        )
        if not self._has_token_types or all(chunk.item.input.token_type_ids is None for chunk in chunks):
            return step
        types: list[int] = []
        for item, start, num_tokens, _ in chunks:
            own = item.input.token_type_ids
            types += (0,) * num_tokens if own is None else own[start : start + num_tokens]
        return replace(step, token_type_ids=np.array(types, np.int32))
