"""Tokens per second of the engine itself, without HTTP: prefill of one prompt, steady decoding of several."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inglenook.bench.work import StepCost
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.request import EngineRequest
from inglenook.errors import EngineError
from inglenook.ops.probes import Limits
from inglenook.types import SamplingParams

NUM_DECODED_TOKENS = 96
NUM_REPEATS = 3


@dataclass(frozen=True)
class Row:
    """One measured figure; `share` is of the machine's limit for this work, 1 being all of it."""

    model: str
    format: str
    work: str
    tokens_per_s: float
    share: float


class Workload:
    """Runs measurements on an engine. Prompts are random tokens, so that no prefix is found in the cache."""

    def __init__(self, name: str, engine: AsyncEngine, cost: StepCost, limits: Limits, vocab_size: int) -> None:
        self._name = name
        self._engine = engine
        self._cost = cost
        self._limits = limits
        self._vocab_size = vocab_size
        self._random = np.random.default_rng(0)
        self._num_requests = 0

    def prefill(self, num_tokens: int) -> Row:
        """The time from handing in a prompt of `num_tokens` to its first token; the median of several."""
        seconds = []
        for _ in range(NUM_REPEATS + 1):  # the first is the warm-up
            started = time.perf_counter()
            self._times([self._request(num_tokens, max_tokens=1)])
            seconds.append(time.perf_counter() - started)
        tokens_per_s = num_tokens / statistics.median(seconds[1:])
        least = self._cost.least_seconds(num_tokens, 1, self._limits)
        return self._row(f"prefill-{num_tokens}", tokens_per_s, tokens_per_s * least / num_tokens)

    def decode(self, num_sequences: int) -> Row:
        """While all sequences are decoding: from the last one's first token to the first one's last."""
        rates = []
        for _ in range(NUM_REPEATS):
            requests = [self._request(16, max_tokens=NUM_DECODED_TOKENS) for _ in range(num_sequences)]
            times = self._times(requests)
            begin = max(arrivals[0] for arrivals in times)
            end = min(arrivals[-1] for arrivals in times)
            num_tokens = sum(begin < arrival <= end for arrivals in times for arrival in arrivals)
            rates.append(num_tokens / (end - begin))
        tokens_per_s = statistics.median(rates)
        least = self._cost.least_seconds(num_sequences, num_sequences, self._limits)
        return self._row(f"decode-{num_sequences}", tokens_per_s, tokens_per_s * least / num_sequences)

    def _row(self, work: str, tokens_per_s: float, share: float) -> Row:
        return Row(self._name, self._cost.format, work, tokens_per_s, share)

    def _request(self, num_tokens: int, max_tokens: int) -> EngineRequest:
        self._num_requests += 1
        prompt = tuple(self._random.integers(0, self._vocab_size, num_tokens).tolist())
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
        return EngineRequest(f"bench-{self._num_requests}", prompt, sampling)

    def _times(self, requests: Sequence[EngineRequest]) -> list[list[float]]:
        """When each token of each request arrived, s."""
        arrivals: dict[str, list[float]] = {request.request_id: [] for request in requests}
        for output in self._engine.generate_blocking(requests):
            if output.error is not None:
                raise EngineError(f"A request of the benchmark failed: {output.error}")
            arrivals[output.request_id] += [time.perf_counter()] * len(output.tokens)
        return list(arrivals.values())
