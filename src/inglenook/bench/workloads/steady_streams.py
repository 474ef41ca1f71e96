"""Steady streams: how long running sequences wait for their tokens while a long prompt is being computed."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.engine.request import EngineOutput
from inglenook.errors import EngineError

NUM_STREAMS = 8
PROMPT_TOKENS = 8192
NUM_QUIET_TOKENS = 48  # of each stream, before the prompt and after it
SETTINGS = {"max_model_len": PROMPT_TOKENS}


@dataclass(frozen=True)
class Steady:
    """`stretch_p99`: the time between two tokens of a stream beside the prompt, as a multiple of their quiet median.

    The streams' contexts grow meanwhile, and with them the quiet median: a line, over the number of tokens, from that
    before the prompt to that after it.
    """

    quiet_before_s: float
    quiet_after_s: float
    stretch_p50: float
    stretch_p99: float
    prompt_tokens_per_s: float


class _Waits:
    """Arrival and wait of each token of the streams."""

    def __init__(self, outputs: Generator[EngineOutput, None, None]) -> None:
        self._outputs = outputs
        self._last: dict[str, float] = {}
        self.arrivals: list[float] = []
        self.waits: list[float] = []

    def take(self) -> None:
        output = next(self._outputs)
        _check(output)
        now = time.perf_counter()
        if output.request_id in self._last:
            self.arrivals.append(now)
            self.waits.append(now - self._last[output.request_id])
        self._last[output.request_id] = now

    def take_quiet(self) -> float:
        """The median wait of the next tokens."""
        begin = len(self.waits)
        while len(self.waits) < begin + NUM_STREAMS * NUM_QUIET_TOKENS:
            self.take()
        return statistics.median(self.waits[begin:])


def measure_steady(subject: Subject) -> Steady:
    """A prompt as long as the context allows beside eight streams. Nothing else may be running."""
    engine, context_length = subject.loaded.engine, subject.loaded.plan.max_model_len
    num_prompt_tokens = min(PROMPT_TOKENS, context_length - 1)
    prompt = subject.request(subject.prompt(num_prompt_tokens), max_tokens=1)
    ended: list[float] = []

    def compute_prompt() -> None:
        try:
            for output in engine.generate_blocking([prompt]):
                _check(output)
        finally:
            ended.append(time.perf_counter())

    requests = [subject.request(subject.prompt(16), context_length - 16) for _ in range(NUM_STREAMS)]
    outputs = engine.generate_blocking(requests)
    streams = _Waits(outputs)
    try:
        before = streams.take_quiet()
        worker = threading.Thread(target=compute_prompt)
        started = time.perf_counter()
        worker.start()
        while not ended:
            streams.take()
        worker.join()
        after = streams.take_quiet()
    finally:
        outputs.close()
    seconds = ended[0] - started
    waits = [w for at, w in zip(streams.arrivals, streams.waits, strict=True) if started < at <= ended[0]]
    stretches = [wait / (before + (after - before) * i / len(waits)) for i, wait in enumerate(waits)]
    p50, p99 = np.percentile(stretches, (50, 99)).tolist()
    return Steady(before, after, p50, p99, num_prompt_tokens / seconds)


def _check(output: EngineOutput) -> None:
    if output.error is not None:
        raise EngineError(f"A request of the benchmark failed: {output.error}")


def _figure(subject: Subject) -> Figure:
    steady = measure_steady(subject)
    quiet_ms = 1e3 * steady.quiet_before_s
    return Figure((steady.stretch_p99 * quiet_ms,), "ms p99", lambda limits: quiet_ms, of="quiet p50")


STEADY_STREAMS = Workload("steady-streams", _figure, model=SETTINGS, is_long=True)
