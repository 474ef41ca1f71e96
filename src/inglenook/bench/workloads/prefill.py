"""Prefill: the time from handing in a prompt to its first token, nothing else running."""

from __future__ import annotations

import time

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.ops.probes import Limits


def prefill(num_tokens: int) -> Workload:
    return Workload(f"prefill-{num_tokens}", lambda subject: measure_prefill(subject, num_tokens))


def measure_prefill(subject: Subject, num_tokens: int) -> Figure:
    cost = subject.cost

    def run() -> float:
        request = subject.request(subject.prompt(num_tokens), max_tokens=1)
        begin = time.perf_counter()
        subject.arrivals([request])
        return num_tokens / (time.perf_counter() - begin)

    def limit(limits: Limits) -> float:
        return num_tokens / cost.least_seconds(num_tokens, 1, limits)

    return Figure(subject.repeat(run), "tokens/s", limit)
