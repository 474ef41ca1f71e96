"""Speculation where the output repeats the input, and where nothing repeats: against the same without drafts.

The model's weights are random, so scripts are replayed (bench/replay.py). The script is cut into segments; each is
decoded with and without drafts in turn, behind the same cached prompt.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from inglenook.bench.replay import Replay, Script, edit_script, extract_script, random_script
from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.bench.workloads.decode import steady_rate

NUM_SEGMENTS = 5
SEGMENT = 128  # tokens
SETTINGS = {"max_model_len": 6144}


def measure(subject: Subject, script: Script) -> Figure:
    drafted: list[float] = []
    plain: list[float] = []
    with subject.replaced_executor(lambda executor: Replay(executor, script)):
        subject.arrivals([subject.request(script.prompt, 1)])
        for start in range(0, NUM_SEGMENTS * SEGMENT, SEGMENT):
            request = subject.request(script.prompt + script.output[:start], SEGMENT)
            drafted.append(steady_rate(subject.arrivals([replace(request, is_drafted=True)])))
            plain.append(steady_rate(subject.arrivals([request])))
    return Figure(tuple(drafted), "tokens/s", lambda _: statistics.median(plain), of="no drafts")


def _workload(name: str, make_script: Callable[[int], Script]) -> Workload:
    def run(subject: Subject) -> Figure:
        return measure(subject, make_script(subject.loaded.config.vocab_size))

    return Workload(f"speculation-{name}", run, model=SETTINGS)


SPECULATION = (
    _workload("edit", edit_script),
    _workload("extract", extract_script),
    _workload("none", lambda vocab_size: random_script(vocab_size, 512, NUM_SEGMENTS * SEGMENT)),
)
