"""A bad neighbour: the standard works while another process keeps one of the cores busy, as a share of quiet.

On Linux the neighbour is pinned to one core; elsewhere the system places it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.bench.workloads.decode import measure_decode
from inglenook.bench.workloads.prefill import measure_prefill

NUM_MANY_THREADS = 16


def beside_neighbour(name: str, measure: Callable[[Subject], Figure]) -> Workload:
    def figure(subject: Subject) -> Figure:
        quiet = statistics.median(measure(subject).values)
        with _neighbour():
            busy = measure(subject)
        return replace(busy, limit=lambda limits: quiet, of="quiet")

    return Workload(f"{name}-neighbour", figure, is_long=True)


def with_many_threads(name: str, measure: Callable[[Subject], Figure]) -> Workload:
    """More threads than cores, as a share of the usual number."""

    def figure(subject: Subject) -> Figure:
        quiet = statistics.median(measure(subject).values)
        many = Subject(subject.path, subject.model, replace(subject.settings, threads=NUM_MANY_THREADS))
        try:
            crowded = measure(many)
        finally:
            many.close()
        return replace(crowded, limit=lambda limits: quiet, of="quiet")

    return Workload(f"{name}-16-threads", figure, is_long=True)


@contextmanager
def _neighbour() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
            yield
        finally:
            process.kill()


_STANDARD: tuple[tuple[str, Callable[[Subject], Figure]], ...] = (
    ("prefill-512", lambda subject: measure_prefill(subject, 512)),
    ("decode-1", lambda subject: measure_decode(subject, 1)),
    ("decode-8", lambda subject: measure_decode(subject, 8)),
    ("decode-32", lambda subject: measure_decode(subject, 32)),
)
NEIGHBOUR = (
    *(beside_neighbour(name, measure) for name, measure in _STANDARD),
    *(with_many_threads(name, measure) for name, measure in _STANDARD),
)
