"""What drafting with a model costs, by a clock that only the two models move: little where it brings nothing, and
never a long wait.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fixtures.drafters import FakeDraftExecutor, make_draft_model
from fixtures.fake_engine import contents, make_request, next_token
from inglenook.engine.batch import ScheduledChunk, ScheduledStep
from inglenook.engine.kv_cache import BlockTables
from inglenook.engine.sequence import Sequence, make_sequence
from inglenook.engine.speculative import draft_model
from inglenook.engine.speculative.draft_budget import MAX_CREDIT, PACE, TRIAL_SHARE, DraftBudget
from inglenook.engine.speculative.draft_model import NEAR, DraftModel
from inglenook.engine.speculative.speculator import Speculator

STEP, ROW = 0.030, 0.001  # seconds of a step of the large model, and of each row more
DRAFT_STEP, DRAFT_TOKEN = 0.003, 0.0005


@dataclass
class World:
    """Two models that only take time. The small one says what the large one does in a share of the cases."""

    drafter: DraftModel
    executor: FakeDraftExecutor
    speculator: Speculator
    now: float = 0.0

    def run(self, sequences: list[Sequence], num_steps: int) -> float:
        """Tokens per second, of all sequences."""
        began, num_tokens = self.now, 0
        for _ in range(num_steps):
            drafts = self.speculator.propose(sequences) or [()] * len(sequences)
            chunks = [
                ScheduledChunk(s, len(s.token_ids) - 1, 1 + len(d), True, d)
                for s, d in zip(sequences, drafts, strict=True)
            ]
            seconds = STEP + ROW * (sum(chunk.num_tokens for chunk in chunks) - 1)
            self.now += seconds
            step = ScheduledStep(chunks, len(chunks), BlockTables(1, 1).array, 4)
            self.speculator.observe(step, seconds)
            outputs = [_true_tokens(s, d) for s, d in zip(sequences, drafts, strict=True)]
            self.speculator.learn(step, outputs)
            for sequence, tokens in zip(sequences, outputs, strict=True):
                sequence.token_ids += tokens
                num_tokens += len(tokens)
        assert not self.speculator._is_off
        return num_tokens / (self.now - began)


def _true_tokens(sequence: Sequence, draft: tuple[int, ...]) -> list[int]:
    tokens = list(sequence.token_ids)
    output = []
    for drafted in (*draft, -1):
        output.append(next_token(contents(tokens)))
        tokens.append(output[-1])
        if output[-1] != drafted:
            break
    return output


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    drafter, executor = make_draft_model(num_blocks=4000, context_length=4000)
    world = World(drafter, executor, Speculator(drafter, max_rows=16, max_draft_tokens=15))

    def take_time(num_tokens: int) -> None:
        world.now += max(DRAFT_STEP, DRAFT_TOKEN * num_tokens)

    executor.on_step = take_time
    monkeypatch.setattr(draft_model.time, "perf_counter", lambda: world.now)  # type: ignore[attr-defined]
    return world


def start(world: World, num_tokens: int, max_tokens: int = 3000, seed: int = 0) -> Sequence:
    prompt = [(7 * i + i * i + seed) % 50 for i in range(num_tokens)]
    sequence = make_sequence(make_request(str(seed), prompt, max_tokens), seed, 4000)
    sequence.row = seed
    return sequence


PLAIN = 1 / STEP


@pytest.mark.parametrize(("accuracy", "least"), [(1.0, 4.0), (0.8, 2.2), (0.6, 1.5), (0.3, 1.04)])
def test_right_drafts_pay(world: World, accuracy: float, least: float) -> None:
    world.executor.accuracy = accuracy
    assert world.run([start(world, 10)], 200) > least * PLAIN


@pytest.mark.parametrize("count", [1, 4])
def test_wrong_drafts_cost_little(world: World, count: int) -> None:
    world.executor.accuracy = 0.0
    sequences = [start(world, 10 + 100 * i, seed=i) for i in range(count)]
    world.run(sequences, 40)
    step = STEP + ROW * (count - 1)
    assert world.run(sequences, 400) > 0.98 * count / step


def test_what_changes_is_noticed(world: World) -> None:
    world.executor.accuracy = 0.0
    world.run([start(world, 10)], 400)
    world.executor.accuracy = 0.9
    world.speculator.forget(start(world, 10))
    world.run([start(world, 200, seed=1)], 400)
    assert world.run([start(world, 200, seed=2)], 200) > 2 * PLAIN


def test_a_long_prompt_never_stalls_the_streams(world: World) -> None:
    streams = [start(world, 10, seed=i) for i in range(3)]
    world.run(streams, 30)
    newcomers = [start(world, 1000, seed=seed) for seed in (3, 4)]
    waits = []
    for _ in range(200):
        num_steps = len(world.executor.num_tokens)
        world.run([*streams, *newcomers], 1)
        parts = [count for count in world.executor.num_tokens[num_steps:] if count > NEAR]
        waits.append(sum(parts) * DRAFT_TOKEN)
    assert sum(waits) > 1700 * DRAFT_TOKEN
    assert max(waits) < 1.2 * PACE * (STEP + 4 * ROW)
    for newcomer in newcomers:
        follower = world.drafter._cache.followers[newcomer]
        assert follower.num_computed_tokens > 1000 and follower.rates.rates[0] > 0.9


def test_a_prompt_that_is_not_worth_it_is_left(world: World) -> None:
    """Computing 3,000 tokens takes longer than 20 steps."""
    world.run([start(world, 200)], 30)
    num_tokens = sum(world.executor.num_tokens)
    world.run([start(world, 3000, max_tokens=20, seed=1)], 20)
    assert sum(world.executor.num_tokens) == num_tokens


def test_credit() -> None:
    budget = DraftBudget()
    for _ in range(2):
        budget.spend(0.5, 1000, is_trial=False)
        budget.spend_draft_step(0.003, is_usual=True, is_trial=False)
    for _ in range(50):
        budget.begin(0.1, 0.0, 1)
    assert not budget.can_try(100)  # 0.05 and two draft steps
    for _ in range(10):
        budget.begin(0.1, 0.0, 1)
    assert budget.can_try(100)
    budget.spend(0.05, 100, is_trial=True)
    assert not budget.can_try(100)
    for _ in range(int(2 * MAX_CREDIT / TRIAL_SHARE)):
        budget.begin(0.1, 0.0, 1)
    assert budget.can_try(3000) and not budget.can_try(3300)
