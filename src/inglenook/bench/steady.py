"""Steady streams: how long running sequences wait for their tokens while a long prompt is being computed."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.request import EngineOutput, EngineRequest
from inglenook.errors import EngineError
from inglenook.types import SamplingParams

NUM_STREAMS = 8
PROMPT_TOKENS = 8192
NUM_QUIET_TOKENS = 48  # of each stream, before the prompt and after it


@dataclass(frozen=True)
class Steady:
    """`stretch_p99`: the time between two tokens of a stream beside the prompt, as a multiple of their quiet median.

    The streams' contexts grow meanwhile: the quiet median is a line between that before the prompt and that after it.
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


def measure_steady(engine: AsyncEngine, *, vocab_size: int, context_length: int) -> Steady:
    """A prompt of 8,192 tokens, or what the context holds, beside eight streams. Nothing else may be running."""
    random = np.random.default_rng(0)
    num_prompt_tokens = min(PROMPT_TOKENS, context_length - 1)

    def request(name: str, num_tokens: int, max_tokens: int) -> EngineRequest:
        prompt = tuple(random.integers(0, vocab_size, num_tokens).tolist())
        return EngineRequest(name, prompt, SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True))

    prompt = request("prompt", num_prompt_tokens, 1)
    ended: list[float] = []

    def compute_prompt() -> None:
        try:
            for output in engine.generate_blocking([prompt]):
                _check(output)
        finally:
            ended.append(time.perf_counter())

    outputs = engine.generate_blocking([request(f"stream-{i}", 16, context_length - 16) for i in range(NUM_STREAMS)])
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
    stretches = [
        wait / (before + (after - before) * (arrival - started) / seconds)
        for arrival, wait in zip(streams.arrivals, streams.waits, strict=True)
        if started < arrival <= ended[0]
    ]
    p50, p99 = np.percentile(stretches, (50, 99)).tolist()
    return Steady(before, after, p50, p99, num_prompt_tokens / seconds)


def _check(output: EngineOutput) -> None:
    if output.error is not None:
        raise EngineError(f"A request of the benchmark failed: {output.error}")
