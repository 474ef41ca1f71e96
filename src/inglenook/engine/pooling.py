"""The engine of models that give a row of numbers for each input: embeddings, or a ranking model's logits.

Requests go in from any thread or event loop; one thread of its own runs the steps.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from inglenook.engine.engine import MAX_FAILED_STEPS
from inglenook.engine.pooling_queue import PoolingChunk, PoolingInput, PoolingItem, PoolingJob, PoolingQueue, Row
from inglenook.errors import (
    ContextLengthError,
    EngineError,
    InglenookError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)

__all__ = ["PoolingEngine", "PoolingInput", "PoolingLimits", "PoolingStats", "Row"]

logger = logging.getLogger(__name__)


class PoolingRunner(Protocol):
    """Computes steps."""

    def run(self, chunks: Sequence[PoolingChunk], queue: PoolingQueue) -> Row:
        """One row for each chunk that is an input's last, in order; valid until the next call."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class PoolingLimits:
    """What an input may be. Token types pass for nothing where the model knows fewer than two."""

    max_model_len: int
    vocab_size: int
    num_token_types: int = 0


@dataclass(frozen=True)
class PoolingStats:
    """A snapshot, in inputs. Behind num_waiting are sums since the start."""

    num_running: int = 0
    num_waiting: int = 0
    num_steps: int = 0
    num_failed_steps: int = 0
    num_inputs: int = 0
    num_prompt_tokens: int = 0


class PoolingEngine:
    """Packs the inputs of many requests into steps. Every method may be called from any thread.

    At most `max_queue` requests wait beside those that are being computed; further ones raise OverloadedError.
    """

    def __init__(self, runner: PoolingRunner, queue: PoolingQueue, limits: PoolingLimits, *, max_queue: int) -> None:
        self.limits = limits
        self._runner = runner
        self._queue = queue  # the thread's alone
        self._max_jobs = queue.max_num_seqs + max_queue
        self._wake = threading.Condition()  # guards what follows
        self._inbox: list[PoolingJob] = []
        self._jobs: set[PoolingJob] = set()  # that aren't over
        self._stop_at: float | None = None  # time.monotonic(); set once stopping
        self._is_dead = False
        self._num_failed_in_a_row = 0
        self._stats = PoolingStats()
        self._thread = threading.Thread(target=self._run, name="inglenook-pooling", daemon=True)
        self._thread.start()
        atexit.register(self.stop)  # a daemon thread in native code must not outlive the interpreter

    # --- asking -------------------------------------------------------------------------------------

    async def encode(self, inputs: Sequence[PoolingInput], *, priority: int = 0) -> list[Row]:
        """A float32 row for each input, in order: what the model's program gives, before normalisation.

        Lower priority is served first. Cancelling the task that awaits this drops what hasn't started. Raises
        InvalidRequestError (ContextLengthError), OverloadedError, UnavailableError; EngineError where a step fails.
        """
        return await asyncio.wrap_future(self._submit(inputs, priority).future) if inputs else []

    def encode_blocking(self, inputs: Sequence[PoolingInput], *, priority: int = 0) -> list[Row]:
        """As `encode`, without an event loop."""
        if not inputs:
            return []
        job = self._submit(inputs, priority)
        try:
            return job.future.result()
        finally:
            job.future.cancel()  # where the wait was interrupted

    # --- state --------------------------------------------------------------------------------------

    @property
    def is_healthy(self) -> bool:
        """False once stopped, and while steps fail again and again."""
        return self._stop_at is None and not self._is_dead and self._num_failed_in_a_row < MAX_FAILED_STEPS

    def stats(self) -> PoolingStats:
        with self._wake:
            num_open = sum(job.num_missing for job in self._jobs)
            num_running = min(self._stats.num_running, num_open)
            return replace(self._stats, num_running=num_running, num_waiting=num_open - num_running)

    def stop(self, grace_s: float = 0.0) -> None:
        """Take no further requests, go on for `grace_s` seconds with those that are there, end the others, free the
        model. Blocks until done. Requests that are cut off get UnavailableError.
        """
        with self._wake:
            stop_at = time.monotonic() + grace_s
            self._stop_at = stop_at if self._stop_at is None else min(self._stop_at, stop_at)
            self._wake.notify()
        self._thread.join()
        atexit.unregister(self.stop)

    # --- inside -------------------------------------------------------------------------------------

    def _submit(self, inputs: Sequence[PoolingInput], priority: int) -> PoolingJob:
        for pooling_input in inputs:
            self._check(pooling_input)
        job = PoolingJob(inputs, priority)
        with self._wake:
            if self._stop_at is not None or self._is_dead:
                raise UnavailableError("The engine is stopping or has failed; it takes no new requests.")
            if len(self._jobs) >= self._max_jobs:
                raise OverloadedError(f"{len(self._jobs)} requests are waiting or running already. Try again later.")
            self._jobs.add(job)
            self._inbox.append(job)
            self._wake.notify()
        job.future.add_done_callback(lambda _: self._forget(job))
        return job

    def _check(self, pooling_input: PoolingInput) -> None:
        token_ids, types = pooling_input.token_ids, pooling_input.token_type_ids
        limits = self.limits
        if not token_ids:
            raise InvalidRequestError("An input has no tokens; it must have at least one.", param="input")
        if len(token_ids) > limits.max_model_len:
            raise ContextLengthError(
                f"An input has {len(token_ids)} tokens, and the model takes {limits.max_model_len}. Shorten it.",
                param="input",
            )
        if min(token_ids) < 0 or max(token_ids) >= limits.vocab_size:
            raise InvalidRequestError(
                f"An input holds a token id outside of the vocabulary, 0 to {limits.vocab_size - 1}.", param="input"
            )
        assert types is None or len(types) == len(token_ids)
        if types is not None and limits.num_token_types > 1:
            assert min(types) >= 0 and max(types) < limits.num_token_types

    def _forget(self, job: PoolingJob) -> None:
        with self._wake:
            self._jobs.discard(job)

    def _run(self) -> None:
        """The engine's thread."""
        try:
            while self._take_inbox():
                self._step()
            message = "The server is stopping; the request was cut off."
        except BaseException:
            logger.exception("The engine's thread failed.")
            message = "The engine has failed; the server's log says more."
        with self._wake:
            self._is_dead = True
            jobs = list(self._jobs)
        for job in jobs:
            _fail(job, UnavailableError(message))
        self._runner.close()

    def _take_inbox(self) -> bool:
        """Wait for work and take in what is new; False when it is time to end."""
        with self._wake:
            while not (self._inbox or self._queue.has_work() or self._stop_at is not None):
                self._wake.wait()
            jobs, self._inbox = self._inbox, []
        for job in jobs:
            self._queue.add(job)
        is_late = self._stop_at is not None and time.monotonic() >= self._stop_at
        return not is_late and (self._queue.has_work() or self._stop_at is None)

    def _step(self) -> None:
        chunks = self._queue.next_chunks()
        if not chunks:
            return
        with self._wake:
            self._stats = replace(self._stats, num_running=len(chunks), num_steps=self._stats.num_steps + 1)
        try:
            rows = self._runner.run(chunks, self._queue)
        except Exception:
            logger.exception("A step of %d inputs failed.", len(chunks))
            self._fail_step(chunks)
            return
        self._num_failed_in_a_row = 0
        self._queue.finish_step(chunks)
        done = [chunk.item for chunk in chunks if chunk.is_last]
        with self._wake:
            self._stats = replace(
                self._stats,
                num_running=len(self._queue.running),
                num_inputs=self._stats.num_inputs + len(done),
                num_prompt_tokens=self._stats.num_prompt_tokens + sum(len(item.input.token_ids) for item in done),
            )
        for item, row in zip(done, rows, strict=True):
            _deliver(item, row)

    def _fail_step(self, chunks: Sequence[PoolingChunk]) -> None:
        """The queue lets go of what it holds for these when it looks at them next."""
        self._num_failed_in_a_row += 1
        with self._wake:
            self._stats = replace(self._stats, num_running=0, num_failed_steps=self._stats.num_failed_steps + 1)
        for chunk in chunks:
            _fail(
                chunk.item.job, EngineError("The engine failed on this request. Try again; the server's log says more.")
            )


def _deliver(item: PoolingItem, row: Row) -> None:
    job = item.job
    if not np.isfinite(row).all():
        _fail(job, EngineError("The model gave numbers that aren't finite for an input."))
        return
    job.rows[item.index] = row.copy()
    job.num_missing -= 1
    if job.num_missing == 0 and job.future.set_running_or_notify_cancel():
        job.future.set_result([row for row in job.rows if row is not None])


def _fail(job: PoolingJob, error: InglenookError) -> None:
    if not job.is_over and job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
