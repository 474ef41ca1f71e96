"""Which tokens may come next in the rows of a step, by their guides: computed on another thread while the step runs."""

from __future__ import annotations

import queue
import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inglenook.engine.batch import ScheduledChunk, ScheduledStep
from inglenook.errors import EngineError

Mask = npt.NDArray[np.uint32]


class StepMasks(NamedTuple):
    """Row i of the logits follows masks[rows[i]], or none where that is -1. `errors`: of guides, by index of chunk."""

    masks: Mask
    rows: list[int]
    errors: dict[int, EngineError]


class MaskFiller:
    """Its thread starts with the first guide. Not thread-safe; one step at a time."""

    def __init__(self, vocab_size: int) -> None:
        self._num_words = -(-vocab_size // 32)
        self._masks = np.empty((0, self._num_words), np.uint32)
        self._steps: queue.SimpleQueue[ScheduledStep | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[StepMasks | BaseException] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, step: ScheduledStep) -> bool:
        """Begin to fill the masks of a step; False where it needs none. `finish` must follow."""
        if not any(chunk.sequence.guide is not None and chunk.is_sampled for chunk in step.chunks):
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="inglenook-masks", daemon=True)
            self._thread.start()
        self._steps.put(step)
        return True

    def finish(self) -> StepMasks:
        """Wait for what `start` began. The masks are overwritten by the next step's."""
        result = self._results.get()
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        if self._thread is not None:
            self._steps.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (step := self._steps.get()) is not None:
            self._results.put(self._answer(step))

    def _answer(self, step: ScheduledStep) -> StepMasks | BaseException:
        try:
            return self._fill(step)
        except BaseException as error:  # it belongs to the thread that waits
            return error

    def _fill(self, step: ScheduledStep) -> StepMasks:
        rows: list[int] = []
        errors: dict[int, EngineError] = {}
        num_masks = 0
        sampled = [chunk for chunk in step.chunks if chunk.is_sampled]
        self._make_room(sum(1 + len(chunk.drafts) for chunk in sampled if chunk.sequence.guide is not None))
        for index, chunk in enumerate(sampled):
            num_rows = 1 + len(chunk.drafts)
            if chunk.sequence.guide is None:
                rows += [-1] * num_rows
                continue
            rows += range(num_masks, num_masks + num_rows)
            try:
                _fill_rows(chunk, self._masks[num_masks : num_masks + num_rows])
            except EngineError as error:
                errors[index] = error
            num_masks += num_rows
        return StepMasks(self._masks, rows, errors)

    def _make_room(self, num_masks: int) -> None:
        if num_masks > len(self._masks):
            self._masks = np.empty((num_masks, self._num_words), np.uint32)


def _fill_rows(chunk: ScheduledChunk, masks: Mask) -> None:
    """The row behind the last known token, and one behind each draft."""
    guide, forced = chunk.sequence.guide, chunk.sequence.forced
    assert guide is not None
    if forced:
        for mask, token_id in zip(masks, forced, strict=False):
            mask[:] = 0
            mask[token_id // 32] = 1 << (token_id % 32)
        if len(masks) > len(forced):
            guide.fill_mask(masks[len(forced)])
        return
    guide.fill_mask(masks[0])
    for token_id, mask in zip(chunk.drafts, masks[1:], strict=True):
        guide.accept([token_id])
        guide.fill_mask(mask)
    if chunk.drafts:
        guide.rollback(len(chunk.drafts))
