"""Python's share of a step of 32 sequences: everything between two runs of the tape, sampling and delivery included."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.engine.engine import Runner
from inglenook.engine.request import EngineRequest
from inglenook.ops.executor import BlockCopy, Executor, StepInput
from inglenook.types import SamplingParams

if TYPE_CHECKING:
    from inglenook.engine.model_runner import ModelRunner

NUM_SEQUENCES = 32
NUM_TOKENS = 96
SAMPLING = SamplingParams(max_tokens=NUM_TOKENS, temperature=0.2, top_p=0.9, ignore_eos=True)  # the default model's own


class _TimedExecutor:
    """Notes when each run began and ended."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.times: list[tuple[float, float]] = []

    def run(self, step: StepInput) -> npt.NDArray[np.float32]:
        begin = time.perf_counter()
        output = self._executor.run(step)
        self.times.append((begin, time.perf_counter()))
        return output

    def copy_blocks(self, copies: Sequence[BlockCopy]) -> None:
        self._executor.copy_blocks(copies)

    def close(self) -> None:
        self._executor.close()


def measure(subject: Subject) -> Figure:
    executors: list[_TimedExecutor] = []

    def instrument(runner: ModelRunner) -> Runner:
        runner.executor = executor = _TimedExecutor(runner.executor)
        executors.append(executor)
        return runner

    prompts = [subject.prompt(16) for _ in range(NUM_SEQUENCES)]
    loaded = subject.load(instrument)
    try:
        requests = [EngineRequest(f"share-{i}", prompt, replace(SAMPLING, seed=i)) for i, prompt in enumerate(prompts)]
        for output in loaded.engine.generate_blocking(requests):
            assert output.error is None
    finally:
        loaded.engine.stop()
    times = executors[0].times[8:]  # without prompts and warm-up
    gaps = [1e3 * (after[0] - before[1]) for before, after in pairwise(times)]
    step_ms = 1e3 * (times[-1][0] - times[0][0]) / len(gaps)
    return Figure(tuple(gaps), "ms", lambda limits: step_ms, of="step")


PYTHON_SHARE = Workload("python-share-32", measure)
