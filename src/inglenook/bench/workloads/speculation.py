"""Speculation where the output repeats the input, and where nothing repeats: against the same without drafts.

The model's weights are random, so scripts are replayed (bench/replay.py). The script is cut into segments; each is
decoded with and without drafts in turn, behind the same cached prompt. Where a model drafts, its weights are random,
too, and it knows the script in so many of a hundred places.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from inglenook.bench.replay import Replay, Script, edit_script, extract_script, random_script
from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.bench.workloads.decode import steady_rate
from inglenook.config import SpeculativeSettings

NUM_SEGMENTS = 5
SEGMENT = 128  # tokens
SETTINGS = {"max_model_len": 6144}
DRAFT_MODEL = "dummy:135m"


def measure(subject: Subject, script: Script, accuracy: float | None = None) -> Figure:
    drafted: list[float] = []
    plain: list[float] = []
    with ExitStack() as replaced:
        replaced.enter_context(subject.replaced_executor(lambda executor: Replay(executor, script)))
        if accuracy is not None:
            make = functools.partial(Replay, script=script, accuracy=accuracy)
            replaced.enter_context(subject.replaced_executor(make, of_draft_model=True))
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


def _drafted_by_model(percent: int) -> Workload:
    def run(subject: Subject) -> Figure:
        script = random_script(subject.loaded.config.vocab_size, 512, NUM_SEGMENTS * SEGMENT)
        return measure(subject, script, percent / 100)

    engine = {"speculative_config": SpeculativeSettings("draft_model", DRAFT_MODEL)}
    return Workload(f"speculation-model-{percent}", run, model=SETTINGS, engine=engine)


SPECULATION = (
    _workload("edit", edit_script),
    _workload("extract", extract_script),
    _workload("none", lambda vocab_size: random_script(vocab_size, 512, NUM_SEGMENTS * SEGMENT)),
    *(_drafted_by_model(percent) for percent in (90, 70, 50, 0)),
)
