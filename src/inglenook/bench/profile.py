"""Where the time of a step goes: stages of the native tape, sampling, and the Python around them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from statistics import mean
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from inglenook.engine.batch import ScheduledStep
from inglenook.engine.request import SampledToken
from inglenook.engine.sequence import Sequence
from inglenook.errors import EngineError
from inglenook.ops.executor import BlockCopy, StepInput
from inglenook.ops.program import Linear, Program
from inglenook.ops.weights import KeptWeight

if TYPE_CHECKING:
    from inglenook.engine.model_runner import ModelRunner
    from inglenook.ops.native import NativeExecutor


@dataclass(frozen=True)
class StepTimes:
    """When the parts of one step began and ended, s."""

    num_tokens: int
    num_selected: int
    begin: float
    tape_begin: float
    tape_end: float
    end: float


@dataclass(frozen=True)
class Part:
    """A line of the profile: seconds of one step. `num_bytes` and `operations` of weights, 0 where there are none."""

    name: str
    count: int
    seconds: float
    num_bytes: int = 0
    operations: int = 0


class StepClock:
    """Takes the runner's and the executor's place and looks at the clock before and after."""

    def __init__(self, runner: ModelRunner) -> None:
        self._runner = runner
        self._executor = cast("NativeExecutor", runner.executor)
        self._tape_times = 0.0, 0.0
        self._steps: list[StepTimes] = []
        runner.executor = self._TimedExecutor(self)

    def start(self) -> None:
        """Forget what was timed before."""
        self._executor.start_profile()
        self._steps.clear()

    def prepare(self, sequence: Sequence) -> None:
        self._runner.prepare(sequence)

    def run(self, step: ScheduledStep) -> list[tuple[SampledToken, ...] | EngineError]:
        begin = time.perf_counter()
        results = self._runner.run(step)
        num_tokens = sum(chunk.num_tokens for chunk in step.chunks)
        self._steps.append(StepTimes(num_tokens, len(step.sampled), begin, *self._tape_times, time.perf_counter()))
        return results

    def close(self) -> None:
        self._runner.close()

    def parts(self, program: Program, kept: Mapping[str, KeptWeight]) -> tuple[int, list[Part]]:
        """Of the steps that took most of the time: their number of tokens, and the mean of each part."""
        totals: dict[int, float] = {}
        for step in self._steps:
            totals[step.num_tokens] = totals.get(step.num_tokens, 0.0) + step.end - step.begin
        num_tokens = max(totals, key=lambda number: totals[number])
        steps = [step for step in self._steps if step.num_tokens == num_tokens]
        rows = {"tokens": num_tokens, "selected": round(mean(step.num_selected for step in steps))}
        stages = self._executor.stage_times()[num_tokens]
        operations = _operations(program, rows)
        parts = [
            Part(
                stage.name,
                stage.count,
                stage.seconds,
                sum(kept[name].num_bytes for name in stage.weights),
                sum(operations[name] for name in stage.weights),
            )
            for stage in stages
        ]
        tape = mean(step.tape_end - step.tape_begin for step in steps)
        parts += [
            Part("cutting the step into chunks", 1, tape - sum(stage.seconds for stage in stages)),
            Part("inputs (Python)", 1, mean(step.tape_begin - step.begin for step in steps)),
            Part("sampling", 1, mean(step.end - step.tape_end for step in steps)),
        ]
        # Steps of one size follow each other while sequences are decoding; after a prompt nothing may follow.
        gaps = [b.begin - a.end for a, b in pairwise(self._steps) if a.num_tokens == b.num_tokens == num_tokens]
        if gaps and rows["selected"] == num_tokens:
            parts.append(Part("scheduling, delivery (Python)", 1, float(np.median(gaps))))
        return num_tokens, parts

    class _TimedExecutor:
        def __init__(self, clock: StepClock) -> None:
            self._clock = clock

        def run(self, step: StepInput) -> npt.NDArray[np.float32]:
            begin = time.perf_counter()
            output = self._clock._executor.run(step)
            self._clock._tape_times = begin, time.perf_counter()
            return output

        def copy_blocks(self, copies: SequenceOf[BlockCopy]) -> None:
            self._clock._executor.copy_blocks(copies)

        def close(self) -> None:
            self._clock._executor.close()


PROFILE_HEADER = f"  {'stage':<34}{'count':>6}{'ms':>9}{'share':>7}{'us each':>9}{'GB/s':>6}{'GOP/s':>7}"


def profile_lines(work: str, num_tokens: int, parts: list[Part]) -> list[str]:
    total = sum(part.seconds for part in parts)
    lines = [f"  {work}: where the {total * 1e3:.2f} ms of a step of {num_tokens} tokens go", PROFILE_HEADER]
    for part in parts:
        each = part.seconds / part.count * 1e6
        line = (
            f"  {part.name[:34]:<34}{part.count:>6}{part.seconds * 1e3:>9.3f}{part.seconds / total:>7.1%}{each:>9.1f}"
        )
        if part.num_bytes and part.seconds > 0:
            line += f"{part.num_bytes / part.seconds / 1e9:>6.1f}{part.operations / part.seconds / 1e9:>7.0f}"
        lines.append(line)
    return lines


def _operations(program: Program, rows: Mapping[str, int]) -> dict[str, int]:
    """Of each weight that is multiplied with; two for each multiply-add."""
    return {
        weight.name: 2 * rows[op.out.rows] * prod(weight.shape)
        for op in program.ops
        if isinstance(op, Linear)
        for weight in op.weights
    }
