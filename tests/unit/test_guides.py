"""The engine and its guides, without a model: forced runs, ends, failures, who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from contextlib import nullcontext, suppress

import pytest

from fixtures.drafters import Oracle, eager
from fixtures.fake_engine import (
    VOCAB_SIZE,
    check_pool,
    continuation,
    make_engine,
    make_request,
    run_all,
    tokens_of,
)
from fixtures.guides import HashGuide, PartsGuide
from inglenook.engine.budget import StepBudget
from inglenook.engine.engine import Engine
from inglenook.engine.guided import cut_draft
from inglenook.engine.request import EngineRequest
from inglenook.engine.scheduler import MAX_FORCED_TOKENS
from inglenook.engine.sequence import Sequence
from inglenook.engine.speculative.speculator import Speculator
from inglenook.errors import EngineError, InvalidRequestError

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]
RUN = [11, 12, 13, 14]
ANY = set(range(VOCAB_SIZE))


def parts(*parts: list[int] | set[int]) -> Callable[[], PartsGuide]:
    return lambda: PartsGuide(VOCAB_SIZE, list(parts))


# --- forced tokens ----------------------------------------------------------------------------------


def test_a_forced_run_is_one_chunk_with_the_token_before_it() -> None:
    engine, runner = make_engine()
    engine.add(make_request("r", PROMPT, 30, start_guide=parts({20, 21}, RUN, {22, 23}, {24})))
    outputs = run_all(engine)["r"]
    assert runner.steps == [[("r", 0, 8)], [("r", 8, 5)], [("r", 13, 1)]]
    assert [[t.token_id for t in o.tokens][1:] for o in outputs] == [RUN, [], []]
    assert (outputs[-1].finish_reason, outputs[-1].stop_token_id) == ("stop", None)
    assert len(tokens_of(outputs)) == 7


def test_with_log_probabilities_a_forced_run_is_computed_as_a_draft_is() -> None:
    engine, runner = make_engine()
    engine.add(make_request("r", PROMPT, 30, start_guide=parts({20, 21}, RUN, {22, 23}, RUN), logprobs=0))
    outputs = run_all(engine)["r"]
    # Behind the end nothing is sampled: the last run needs a row less.
    assert runner.steps == [[("r", 0, 8)], [("r", 8, 5)], [("r", 13, 4)]]
    assert [len(o.tokens) for o in outputs] == [1, 5, 4]
    assert (
        tokens_of(outputs)
        == continuation(make_request("r", PROMPT, 30, start_guide=parts({20, 21}, RUN, {22, 23}, RUN)), 64)[0]
    )


def test_a_forced_beginning_is_computed_with_the_prompt_and_goes_out_with_the_first_token() -> None:
    engine, runner = make_engine(max_num_batched_tokens=10)
    engine.add(make_request("r", PROMPT, 30, start_guide=parts(RUN, {20, 21}, {22})))
    outputs = run_all(engine)["r"]
    assert runner.steps == [[("r", 0, 10)], [("r", 10, 2)], [("r", 12, 1)]]
    assert [len(o.tokens) for o in outputs] == [5, 1]
    assert tokens_of(outputs)[:4] == RUN


@pytest.mark.parametrize("logprobs", [None, 0])
def test_an_answer_that_is_forced_altogether(logprobs: int | None) -> None:
    engine, runner = make_engine()
    engine.add(make_request("r", PROMPT, 30, start_guide=parts(RUN), logprobs=logprobs))
    outputs = run_all(engine)["r"]
    assert (tokens_of(outputs), outputs[-1].finish_reason) == (RUN, "stop")
    assert (runner.steps == []) == (logprobs is None)
    assert engine.stats().num_generation_tokens == 4


def test_a_guide_that_is_finished_at_once() -> None:
    engine, runner = make_engine()
    engine.add(make_request("r", PROMPT, 30, start_guide=parts()))
    (only,) = run_all(engine)["r"]
    assert (only.tokens, only.finish_reason, runner.steps) == ((), "stop", [])


@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize("at", range(1, 10))
def test_ends_within_and_behind_forced_tokens(at: int, logprobs: int | None) -> None:
    guide = parts(RUN, {20}, [30, 31], {21})
    whole = [*RUN, 20, 30, 31, 21]
    for name, options, expected in [
        ("max_tokens", {"max_tokens": at}, "length" if at < 8 else "stop"),
        ("stop", {"stop_token_ids": tuple(whole[at - 1 : at])}, "stop"),
    ]:
        engine, _ = make_engine()
        engine.add(make_request(name, PROMPT, **{"max_tokens": 20, **options}, start_guide=guide, logprobs=logprobs))
        outputs = run_all(engine)[name]
        assert (tokens_of(outputs), outputs[-1].finish_reason) == (whole[:at], expected)
        assert outputs[-1].stop_token_id == (whole[at - 1] if name == "stop" and at <= 8 else None)


def test_it_ends_where_the_guide_does_whatever_the_request_ignores() -> None:
    engine, _ = make_engine()
    options = {"ignore_eos": True, "min_tokens": 9, "eos_token_ids": frozenset({25})}
    engine.add(make_request("r", PROMPT, 30, start_guide=parts({20, 21}, {25}), **options))
    outputs = run_all(engine)["r"]
    assert (tokens_of(outputs)[1:], outputs[-1].finish_reason, outputs[-1].stop_token_id) == ([25], "stop", None)


# --- beside others ----------------------------------------------------------------------------------


def test_long_forced_runs_come_in_pieces_beside_others() -> None:
    engine, runner = make_engine(max_num_batched_tokens=200, context_length=400, num_blocks=200)
    long = [i % VOCAB_SIZE for i in range(150)]
    engine.add(make_request("long", PROMPT, 200, start_guide=parts({20}, long, {21})))
    engine.add(make_request("other", PROMPT[::-1], 12))
    outputs = run_all(engine)
    assert tokens_of(outputs["long"]) == [20, *long, 21]
    assert [c[2] for step in runner.steps[1:] for c in step if c[0] == "long"] == [65, 65, 21]
    assert MAX_FORCED_TOKENS == 64
    assert all(("other", 8 + i, 1) in step for i, step in enumerate(runner.steps[1:12]))


@pytest.mark.parametrize("logprobs", [None, 0])
def test_forced_runs_leave_room_for_prompts(logprobs: int | None) -> None:
    engine, runner = make_engine(max_num_batched_tokens=12, context_length=400, num_blocks=200)
    guide = parts({20}, [i % VOCAB_SIZE for i in range(150)], {21})
    engine.add(make_request("guided", PROMPT, 200, start_guide=guide, logprobs=logprobs))
    engine.step()
    engine.add(make_request("prompt", [7] * 30, 2))
    for _ in range(6):
        engine.step()
    assert sum(n for step in runner.steps for name, _, n in step if name == "prompt") >= 30
    assert all(sum(n for _, _, n in step) <= 12 for step in runner.steps)
    outputs = run_all(engine)
    assert tokens_of(outputs["guided"])[-1] == 21


class Watched(StepBudget):
    def __init__(self) -> None:
        super().__init__()
        self.observed: list[tuple[int, int]] = []

    def observe(self, num_decodes: int, num_prompt_tokens: int, mean_position: float, seconds: float) -> None:
        self.observed.append((num_decodes, num_prompt_tokens))
        super().observe(num_decodes, num_prompt_tokens, mean_position, 1e-3)


def test_forced_tokens_count_as_decodes_for_the_budget() -> None:
    budget = Watched()
    engine, _ = make_engine(budget=budget)
    engine.add(make_request("r", PROMPT, 30, start_guide=parts({20}, RUN, {22}, {24})))
    run_all(engine)
    assert budget.observed == [(0, 8), (5, 0), (1, 0)]


def test_prompts_start_beside_streams_whose_every_step_is_forced() -> None:
    engine, _ = make_engine(budget=Watched(), context_length=900, num_blocks=600, max_num_batched_tokens=64)
    guide = parts(*[part for i in range(100) for part in ({20}, list(range(1 + i * 7 % 12)))])
    for name in "ab":
        engine.add(make_request(name, [*PROMPT, ord(name) % 50], 800, start_guide=guide))
    engine.step()
    engine.add(make_request("prompt", [7] * 30, 2))
    for _ in range(30):
        if any(output.request_id == "prompt" for output in engine.step()):
            return
    raise AssertionError("the prompt starves")


def test_each_choice_has_a_guide_of_its_own() -> None:
    made = []

    def start() -> HashGuide:
        made.append(HashGuide(VOCAB_SIZE, 3))
        return made[-1]

    engine, _ = make_engine()
    requests = [make_request(str(i), [*PROMPT, i], 20, start_guide=start) for i in range(4)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert len(made) == 4
    for request in requests:
        assert tokens_of(outputs[request.request_id]) == continuation(request, 64)[0]


# --- speculation ------------------------------------------------------------------------------------


def test_drafts_go_as_far_as_the_guide_lets_something_be_sampled() -> None:
    guide = PartsGuide(VOCAB_SIZE, [{1, 2}, {3}, {4, 5}, [6, 7], {8}])
    assert cut_draft(guide, [9, 3]) == []
    assert cut_draft(guide, [1, 9, 4]) == [1]
    assert cut_draft(guide, [1, 3, 4, 6, 7]) == [1, 3]  # 4 is sampled, and 6, 7 follow without
    assert guide.tokens == []
    guide.accept([1, 3, 4, 6, 7])
    assert cut_draft(guide, [8, 8]) == []  # it ends with 8
    assert guide.tokens == [1, 3, 4, 6, 7]


def test_right_drafts_are_taken_with_a_guide() -> None:
    speculator = eager(Oracle(1.0), max_rows=8, max_draft_tokens=7)
    engine, runner = make_engine(speculator=speculator)
    request = make_request("r", PROMPT, 30, start_guide=parts(*[ANY] * 7, RUN, *[ANY] * 9))
    engine.add(request)
    outputs = run_all(engine)["r"]
    assert (tokens_of(outputs), outputs[-1].finish_reason) == continuation(request, 64)
    assert runner.steps == [[("r", 0, 8)], [("r", 8, 6)], [("r", 14, 5 + 3)], [("r", 22, 5)]]
    assert engine.stats().num_accepted_tokens == engine.stats().num_draft_tokens == 12


class Silent(Oracle):
    """Has nothing to propose."""

    def chances(self, sequence: Sequence, limit: int) -> list[float]:
        return []


@pytest.mark.parametrize("logprobs", [None, 0])
def test_what_is_forced_is_no_speculation_and_no_measure_of_it(logprobs: int | None) -> None:
    speculator = Speculator(Silent(), max_rows=8, max_draft_tokens=4)
    measured: list[int] = []
    speculator._times.add = lambda num_rows, seconds: measured.append(num_rows)  # type: ignore[method-assign]
    engine, _ = make_engine(speculator=speculator)
    engine.add(make_request("r", PROMPT, 30, start_guide=parts({20}, RUN, {22}, {24}), logprobs=logprobs))
    run_all(engine)
    assert (engine.stats().num_drafts, engine.stats().num_draft_tokens) == (0, 0)
    assert measured == ([1] if logprobs is None else [5, 1])  # with log-probabilities its rows are those of drafts


def test_a_preempted_sequence_is_a_prompt_again() -> None:
    engine, _ = make_engine(num_blocks=10, block_size=4, enable_prefix_caching=False)
    for name in "ab":
        guide = parts(*[part for _ in range(9) for part in ({20}, RUN)])
        engine.add(make_request(name, [*PROMPT, ord(name) % 50], 30, start_guide=guide))
    while engine.stats().num_preemptions == 0:
        engine.step()
    (waiting,) = engine.scheduler.waiting
    assert not waiting.is_decoding
    assert len(run_all(engine)) == 2


# --- failures ---------------------------------------------------------------------------------------


def add_three(num_calls: int | None, logprobs: int | None, is_speculative: bool) -> tuple[Engine, list[EngineRequest]]:
    speculator = eager(Oracle(0.8), max_rows=12, max_draft_tokens=4) if is_speculative else None
    engine, _ = make_engine(speculator=speculator)
    requests = [
        make_request("plain", PROMPT, 20),
        make_request(
            "bad",
            PROMPT,
            20,
            start_guide=lambda: HashGuide(VOCAB_SIZE, 5, ends=0.0, num_calls=num_calls),
            logprobs=logprobs,
        ),
        make_request("good", PROMPT, 20, start_guide=lambda: HashGuide(VOCAB_SIZE, 2)),
    ]
    return engine, requests


@pytest.mark.parametrize("is_speculative", [False, True])
@pytest.mark.parametrize("logprobs", [None, 0])
def test_a_guide_that_fails_at_any_call_fails_its_own_request(logprobs: int | None, is_speculative: bool) -> None:
    num_failed = 0
    for num_calls in range(60):
        engine, requests = add_three(num_calls, logprobs, is_speculative)
        for request in requests:
            with suppress(EngineError) if request.request_id == "bad" else nullcontext():
                engine.add(request)
        outputs = run_all(engine)
        assert engine.stats().num_failed_steps == 0
        for request in (requests[0], requests[2]):
            assert tokens_of(outputs[request.request_id]) == continuation(request, 64)[0]
        check_pool(engine.scheduler)
        assert engine.scheduler.pool.num_free == engine.scheduler.pool.num_blocks
        if "bad" in outputs and outputs["bad"][-1].error is not None:
            num_failed += 1
            assert "the guide is lost" in str(outputs["bad"][-1].error)
        engine.close()
    assert num_failed > 15


def test_a_guide_that_fails_over_a_draft_fails_its_request_though_it_goes_on() -> None:
    class Picky(PartsGuide):
        def count_allowed(self, token_ids: SequenceOf[int]) -> int:
            raise EngineError("not this draft")

        def accept(self, token_ids: SequenceOf[int]) -> None:
            self.tokens += token_ids

    engine, _ = make_engine(speculator=eager(Oracle(1.0), max_rows=8, max_draft_tokens=4))
    engine.add(make_request("r", PROMPT, 20, start_guide=lambda: Picky(VOCAB_SIZE, [ANY] * 30)))
    outputs = run_all(engine)["r"]
    assert str(outputs[-1].error) == "not this draft"


def test_a_guide_that_can_not_start_is_its_requests_error() -> None:
    def start() -> HashGuide:
        raise InvalidRequestError("no such grammar", param="response_format")

    engine, _ = make_engine()
    with pytest.raises(InvalidRequestError, match="no such grammar"):
        engine.add(make_request("r", PROMPT, 20, start_guide=start))
    assert not engine.has_work()


def test_cancelled_in_the_middle_of_a_forced_run() -> None:
    engine, _ = make_engine(max_num_batched_tokens=8)
    engine.add(make_request("r", PROMPT, 40, start_guide=parts({20}, list(range(25)), {21})))
    engine.step()
    engine.step()
    engine.cancel("r")
    assert not engine.has_work()
    check_pool(engine.scheduler)
    assert engine.scheduler.pool.num_free == engine.scheduler.pool.num_blocks
