"""The budget of a step on made-up machines: whatever they cost, streams keep their pace and prompts advance."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inglenook.engine.budget import FIRST_PROMPT_TOKENS, MAX_STRETCH, QUIET_EVERY, StepBudget


@dataclass(frozen=True)
class Machine:
    """What steps take, s. Noise only ever adds."""

    step: float
    decode: float
    token: float
    token_per_position: float
    chunk_per_position: float  # a chunk reads its context once, however short it is
    noise: float
    outliers: float  # share of steps that take five times as long

    def quiet(self, num_decodes: int) -> float:
        return self.step + self.decode * num_decodes

    def seconds(self, num_decodes: int, start: int, count: int) -> float:
        position = start + count / 2
        prompt = count * (self.token + self.token_per_position * position) + self.chunk_per_position * position
        return self.quiet(num_decodes) + (prompt if count else 0.0)


machines = st.builds(
    Machine,
    step=st.floats(1e-3, 0.1),
    decode=st.floats(1e-5, 3e-3),
    token=st.floats(1e-4, 5e-3),
    token_per_position=st.floats(0.0, 1e-6),
    chunk_per_position=st.floats(0.0, 1e-7),
    noise=st.floats(0.0, 0.2),
    outliers=st.floats(0.0, 0.03),
)


@dataclass(frozen=True)
class Mixed:
    """One step of decodes and prompt tokens: how long by the machine, without noise, over a quiet one."""

    count: int
    stretch: float
    of_one_token: float  # the stretch of a single token there


def run(machine: Machine, num_decodes: int, prompts: list[int], most: int, seed: int) -> tuple[list[Mixed], int]:
    """The mixed steps in which the prompts are computed one after another, and the number of all steps."""
    noise = random.Random(seed)
    budget = StepBudget()
    steps: list[Mixed] = []
    num_steps = 0
    for num_tokens in prompts:
        start = 0
        while start < num_tokens:
            seconds = budget.prompt_seconds(num_decodes)
            assert seconds is not None
            count = min(num_tokens - start, most, max(1, budget.tokens_within(seconds, start))) if seconds else 0
            true_seconds = machine.seconds(num_decodes, start, count)
            measured = true_seconds * (1 + machine.noise * noise.random())
            measured *= 5 if noise.random() < machine.outliers else 1
            budget.observe(num_decodes, count, start + count / 2, measured)
            if count:
                quiet = machine.quiet(num_decodes)
                one = machine.seconds(num_decodes, start, 1) / quiet
                steps.append(Mixed(count, true_seconds / quiet, one))
            start += count
            num_steps += 1
    return steps, num_steps


# On these the first chunk seemed to cost nothing: its four tokens were less than the noise of the quiet step.
NOISY = Machine(0.1, 1e-5, token=3e-3, token_per_position=1e-6, chunk_per_position=3e-8, noise=0.2, outliers=0.005)
INTERRUPTED = Machine(0.1, 5e-4, token=5e-3, token_per_position=1e-6, chunk_per_position=0.0, noise=0.05, outliers=0.03)


@example(NOISY, 1, [3077, 2588, 2588], 2)
@example(INTERRUPTED, 1, [4000, 2270, 4000], 42)
@given(machines, st.integers(1, 40), st.lists(st.integers(1, 4000), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_streams_keep_their_pace_and_prompts_advance(
    machine: Machine, num_decodes: int, prompts: list[int], seed: int
) -> None:
    steps, num_steps = run(machine, num_decodes, prompts, 512, seed)
    # Quiet steps are few, and each step in between computes something.
    assert num_steps - len(steps) <= 12 + num_steps // 4 if num_steps < 40 else 12 + num_steps // (QUIET_EVERY // 2)
    # A single token may take longer than is allowed: then one is what there is.
    too_long = [s for s in steps[1:] if s.count > 1 and s.stretch > 1.35 * MAX_STRETCH]
    assert len(too_long) <= 4 + 0.04 * len(steps)


@given(machines, st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_time_is_used(machine: Machine, num_decodes: int, seed: int) -> None:
    steps, _ = run(machine, num_decodes, [6000], 512, seed)
    could_do_more = [
        s for s in steps[30:-1] if s.count < 512 and s.of_one_token < 1.3 and s.stretch < 1 + 0.4 * (MAX_STRETCH - 1)
    ]
    assert len(could_do_more) <= 0.1 * len(steps)


def test_without_decodes_there_is_no_bound() -> None:
    budget = StepBudget()
    assert budget.prompt_seconds(0) is None
    budget.observe(0, 512, 256, 0.5)
    assert budget.prompt_seconds(0) is None


def test_what_is_not_known_is_measured_first() -> None:
    budget = StepBudget()
    assert budget.prompt_seconds(8) == 0
    assert budget.tokens_within(1.0, 0) == FIRST_PROMPT_TOKENS
    budget.observe(8, 0, 0, 0.010)
    assert budget.prompt_seconds(8) == (MAX_STRETCH - 1) * 0.010
    assert budget.prompt_seconds(3) == 0


def test_prefill_alone_is_a_first_guess_only() -> None:
    budget = StepBudget()
    budget.observe(0, 100, 50, 0.1)
    assert budget.tokens_within(0.010, 0) == 10
    budget.observe(1, 0, 0, 0.010)
    budget.observe(1, 10, 5, 0.015)  # half a millisecond each
    assert budget.tokens_within(0.010, 5) == 20
    budget.observe(0, 100, 50, 0.1)
    assert budget.tokens_within(0.010, 5) == 20


def test_chunks_grow_by_steps_while_their_cost_is_not_seen() -> None:
    budget = StepBudget()
    budget.observe(4, 0, 0, 0.010)
    counts = [budget.tokens_within(0.008, 0)]
    for _ in range(3):
        budget.observe(4, counts[-1], 0, 0.010)
        counts.append(budget.tokens_within(0.008, 0))
    assert [b / a for a, b in itertools.pairwise(counts)] == pytest.approx([4] * 3, rel=0.1)


def test_a_step_with_prompts_bounds_one_without() -> None:
    budget = StepBudget()
    budget.observe(4, 0, 0, 0.050)  # interrupted
    budget.observe(4, 10, 5, 0.010)
    assert budget.prompt_seconds(4) == pytest.approx((MAX_STRETCH - 1) * 0.010)


def test_an_interrupted_step_is_forgotten_by_the_next() -> None:
    budget = StepBudget()
    budget.observe(4, 0, 0, 0.010)
    budget.observe(4, 4, 2, 1.0)
    assert budget.tokens_within(0.008, 2) == 0
    budget.observe(4, 4, 2, 0.0104)
    assert budget.tokens_within(0.008, 2) >= 10


def test_one_interrupted_step_changes_little() -> None:
    budget = StepBudget()
    for _ in range(20):
        budget.observe(4, 0, 0, 0.010)
        budget.observe(4, 10, 100, 0.020)
    budget.observe(4, 10, 100, 1.0)
    assert 6 <= budget.tokens_within(0.010, 100) <= 10
