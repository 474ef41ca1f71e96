"""Random requests, cancellations and tiny caches: every block comes back, nobody is lost, the tokens stay the same."""

import random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fixtures.drafters import Oracle, check_draft_cache, eager, make_draft_model
from fixtures.fake_engine import (
    VOCAB_SIZE,
    check_pool,
    continuation,
    make_engine,
    make_request,
    prompt_scores,
    tokens_of,
)
from fixtures.guides import HashGuide
from inglenook.engine.request import EngineOutput, EngineRequest
from inglenook.engine.scheduler import Scheduler
from inglenook.engine.speculative.draft_model import DraftModel
from inglenook.engine.speculative.drafter import Drafter

CONTEXT = 40


def make_prompt(kind: int, shared: int, tail: list[int]) -> list[int]:
    """Beginnings that others share, one of them a single token again and again, then a tail of its own."""
    beginning = [7] * shared if kind == 0 else [(kind * 11 + i) % 50 for i in range(shared)]
    return (beginning + tail)[: CONTEXT - 1]


class EngineMachine(RuleBasedStateMachine):
    @initialize(
        num_blocks=st.integers(1, 14),
        block_size=st.sampled_from([1, 3, 4, 8, 16]),
        max_num_seqs=st.integers(1, 5),
        max_num_batched_tokens=st.integers(1, 20),
        enable_prefix_caching=st.booleans(),
        accuracy=st.none() | st.sampled_from([0.0, 0.5, 0.9, 1.0]),
        max_rows=st.sampled_from([2, 8, 16]),
        num_draft_blocks=st.none() | st.integers(1, 20),
    )
    def start(self, accuracy: float | None, max_rows: int, num_draft_blocks: int | None, **sizes: Any) -> None:
        max_rows = min(max_rows, sizes["max_num_batched_tokens"])
        speculator = None
        self.draft_model: DraftModel | None = None
        if accuracy is not None:
            drafter: Drafter = Oracle(accuracy)
            if num_draft_blocks is not None:
                shared = {name: sizes[name] for name in ("block_size", "max_num_seqs", "enable_prefix_caching")}
                self.draft_model, _ = make_draft_model(
                    num_blocks=num_draft_blocks, context_length=CONTEXT - 10, accuracy=accuracy, **shared
                )
                drafter = self.draft_model
            speculator = eager(drafter, max_rows=max_rows, max_draft_tokens=7)
        self.engine, self.runner = make_engine(context_length=CONTEXT, speculator=speculator, **sizes)
        self.context_length = self.engine.scheduler.context_length
        self.requests: dict[str, EngineRequest] = {}
        self.cancelled: set[str] = set()
        self.outputs: dict[str, list[EngineOutput]] = {}

    @rule(
        kind=st.integers(0, 3),
        shared=st.integers(0, 20),
        tail=st.lists(st.integers(0, 49), min_size=1, max_size=6),
        max_tokens=st.none() | st.integers(0, 20),
        priority=st.integers(0, 1),
        stop=st.lists(st.integers(0, 49), max_size=2),
        salt=st.sampled_from(["", "tenant"]),
        guide=st.none() | st.integers(0, 9),
        logprobs=st.sampled_from([None, 0]),
        prompt_logprobs=st.sampled_from([None, None, 0]),
    )
    def add(
        self,
        kind: int,
        shared: int,
        tail: list[int],
        max_tokens: int | None,
        priority: int,
        stop: list[int],
        salt: str,
        guide: int | None,
        logprobs: int | None,
        prompt_logprobs: int | None,
    ) -> None:
        prompt = make_prompt(kind, shared, tail)[: self.context_length]
        request = make_request(
            str(len(self.requests)),
            prompt,
            max_tokens,
            priority=priority,
            stop_token_ids=tuple(stop),
            cache_salt=salt,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            start_guide=None if guide is None else lambda: HashGuide(VOCAB_SIZE, guide),
        )
        self.requests[request.request_id] = request
        self.engine.add(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.requests)))
        self.cancelled.add(request_id)
        self.engine.cancel(request_id)

    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        for _ in range(count):
            self.one_step()

    def one_step(self) -> None:
        num_steps = len(self.runner.steps)
        self._one_step()
        for chunks in self.runner.steps[num_steps:]:
            assert sum(n for _, _, n in chunks) <= self.engine.scheduler.max_num_batched_tokens

    def _one_step(self) -> None:
        for output in self.engine.step():
            assert output.request_id not in self.engine.scheduler.sequences or not output.finish_reason
            self.outputs.setdefault(output.request_id, []).append(output)

    @invariant()
    def pool_is_sound(self) -> None:
        if hasattr(self, "engine"):
            check_pool(self.engine.scheduler)
            check_drafts(self.engine.scheduler, self.draft_model)

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        num_steps = 0
        while self.engine.has_work():
            self.one_step()
            num_steps += 1
            assert num_steps < 60 * (len(self.requests) + 1), "somebody starves"
        check_pool(self.engine.scheduler)
        check_drafts(self.engine.scheduler, self.draft_model)
        assert self.engine.scheduler.pool.num_free == self.engine.scheduler.pool.num_blocks
        for request_id, request in self.requests.items():
            tokens, finish_reason = continuation(request, self.context_length)
            outputs = self.outputs.get(request_id, [])
            got = tokens_of(outputs)
            if request_id in self.cancelled:
                assert got == tokens[: len(got)]
            else:
                assert (got, outputs[-1].finish_reason) == (tokens, finish_reason)
                assert outputs[0].prompt_scores == prompt_scores(request)
            assert all(output.prompt_scores is None for output in outputs[1:])
        self.engine.close()


def check_drafts(scheduler: Scheduler, draft_model: DraftModel | None) -> None:
    assert scheduler.speculator is None or not scheduler.speculator._is_off
    if draft_model is not None:
        check_draft_cache(draft_model)
        assert set(draft_model._cache.followers) <= set(scheduler.sequences.values())


EngineMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestEngineMachine = EngineMachine.TestCase


@pytest.mark.parametrize("is_speculative", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_requests_through_a_tiny_cache(seed: int, is_speculative: bool) -> None:
    rng = random.Random(seed)
    engine, _ = make_engine(
        num_blocks=24,
        block_size=4,
        max_num_seqs=8,
        max_num_batched_tokens=13,
        context_length=CONTEXT,
        speculator=eager(Oracle(0.7), max_rows=10, max_draft_tokens=4) if is_speculative else None,
    )
    requests = [
        make_request(
            str(i),
            make_prompt(rng.randrange(4), rng.randrange(20), [rng.randrange(50) for _ in range(rng.randint(1, 8))]),
            rng.choice([1, 5, 12, 25, None]),
            priority=rng.randrange(2),
            eos_token_ids=frozenset(rng.sample(range(50), rng.randrange(3))),
        )
        for i in range(400)
    ]
    cancelled = set(rng.sample([r.request_id for r in requests], 100))
    outputs: dict[str, list[EngineOutput]] = {r.request_id: [] for r in requests}
    to_come = list(requests)
    while to_come or engine.has_work():
        for _ in range(min(rng.randrange(3), len(to_come))):
            engine.add(to_come.pop())
        if cancelled and rng.random() < 0.2:
            engine.cancel(rng.choice(sorted(cancelled)))
        for output in engine.step():
            outputs[output.request_id].append(output)
    assert engine.stats().num_preemptions > 10
    assert engine.stats().num_prefix_hit_tokens > 100
    assert engine.scheduler.pool.num_free == 24
    for request in requests:
        tokens, finish_reason = continuation(request, CONTEXT)
        got = tokens_of(outputs[request.request_id])
        if request.request_id in cancelled:
            assert got == tokens[: len(got)]
        else:
            assert (got, outputs[request.request_id][-1].finish_reason) == (tokens, finish_reason)
