"""A draft model on an engine without a model: what it has computed of each sequence, and where, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.drafters import FakeDraftExecutor, check_draft_cache, eager, make_draft_model
from fixtures.fake_engine import continuation, make_engine, make_request, run_all, tokens_of
from inglenook.engine.engine import Engine
from inglenook.engine.speculative import draft_model
from inglenook.engine.speculative.draft_model import NEAR, DraftModel

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]
LONG = [(7 * i + i * i) % 50 for i in range(140)]


def make(
    *, accuracy: float = 1.0, draft: dict[str, Any] | None = None, **options: Any
) -> tuple[Engine, DraftModel, FakeDraftExecutor]:
    shared = {name: options[name] for name in ("context_length", "enable_prefix_caching") if name in options}
    drafter, executor = make_draft_model(accuracy=accuracy, **{**shared, **(draft or {})})
    speculator = eager(drafter, max_rows=8, max_draft_tokens=5)
    return make_engine(speculator=speculator, **options)[0], drafter, executor


def check_end(engine: Engine, drafter: DraftModel) -> None:
    """Nothing failed, and nothing is left over."""
    assert engine.scheduler.speculator is not None and not engine.scheduler.speculator._is_off
    check_draft_cache(drafter)
    assert drafter._cache.pool.num_free == drafter._cache.pool.num_blocks
    assert not drafter._cache.followers


def check_tokens(engine: Engine, requests: list[Any], context_length: int = 64) -> None:
    outputs = run_all(engine)
    for request in requests:
        expected = continuation(request, context_length)
        assert (tokens_of(outputs[request.request_id]), outputs[request.request_id][-1].finish_reason) == expected


def share(engine: Engine) -> float:
    stats = engine.stats()
    return stats.num_accepted_tokens / stats.num_draft_tokens


def test_a_draft_model_that_knows_saves_steps() -> None:
    engine, drafter, executor = make()
    request = make_request("r", PROMPT, 25)
    engine.add(request)
    check_tokens(engine, [request])
    assert engine.stats().num_steps == 5
    assert share(engine) == 1.0
    # A step for each token, the first with what came since the last draft: the right draft's last token and one more.
    assert executor.num_tokens[:6] == [9, 1, 1, 1, 1, 2]
    check_end(engine, drafter)


@pytest.mark.parametrize("enable_prefix_caching", [False, True])
@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.9])
def test_rejected_drafts_are_taken_back(accuracy: float, enable_prefix_caching: bool) -> None:
    """A token of a wrong draft that stayed in the cache would make later drafts wrong."""
    engine, drafter, executor = make(accuracy=accuracy, enable_prefix_caching=enable_prefix_caching)
    first = make_request("first", PROMPT, 25)
    engine.add(first)
    check_tokens(engine, [first])
    assert engine.stats().num_draft_tokens > 10
    assert (share(engine) == 0.0) == (accuracy == 0.0)
    executor.accuracy = 1.0
    before = engine.stats()
    others = [make_request(f"{i}", [*PROMPT, *continuation(first, 64)[0][: 3 * i], i], 20) for i in range(5)]
    for request in others:
        engine.add(request)
    check_tokens(engine, others)
    after = engine.stats()
    assert after.num_accepted_tokens - before.num_accepted_tokens == after.num_draft_tokens - before.num_draft_tokens
    assert after.num_draft_tokens > before.num_draft_tokens
    check_end(engine, drafter)


def test_rejected_drafts_are_taken_back_after_steps_without_drafts() -> None:
    """While others' prompts are computed nothing is drafted, and sequences grow past what was drafted for them."""
    for seed in range(10):
        engine, drafter, executor = make(accuracy=0.5, context_length=240, max_num_batched_tokens=16)
        executor.random.seed(seed)
        stream = make_request("stream", PROMPT, 60)
        engine.add(stream)
        for _ in range(4):
            engine.step()
        engine.add(make_request("newcomer", LONG[:70], 1))
        for _ in range(6):
            engine.step()
        executor.accuracy = 1.0
        before = engine.stats()
        run_all(engine)
        after = engine.stats()
        num_accepted = after.num_accepted_tokens - before.num_accepted_tokens
        assert num_accepted == after.num_draft_tokens - before.num_draft_tokens > 0
        check_end(engine, drafter)


def test_a_long_prompt_is_computed_in_parts_and_found_again() -> None:
    engine, drafter, executor = make(context_length=240, max_num_batched_tokens=64)
    first = make_request("first", LONG, 40)
    engine.add(first)
    check_tokens(engine, [first], 240)
    num_parts = sum(count > NEAR for count in executor.num_tokens)
    assert num_parts >= 2 and share(engine) == 1.0
    num_computed = sum(executor.num_tokens)
    again = make_request("again", [*LONG, *continuation(first, 240)[0][:20], 7], 20)
    engine.add(again)
    check_tokens(engine, [again], 240)
    assert share(engine) == 1.0
    assert sum(executor.num_tokens) - num_computed < 50
    salted = make_request("salted", LONG, 10, cache_salt="tenant")
    engine.add(salted)
    check_tokens(engine, [salted], 240)
    assert sum(executor.num_tokens) - num_computed > 150
    check_end(engine, drafter)


def test_choices_of_one_prompt_compute_it_once() -> None:
    engine, drafter, executor = make(context_length=240, draft={"num_blocks": 120})
    requests = [make_request(str(i), [*LONG, i], 30) for i in range(5)]
    for request in requests:
        engine.add(request)
    check_tokens(engine, requests, 240)
    assert share(engine) == 1.0
    assert sum(count for count in executor.num_tokens if count > NEAR) < 1.5 * len(LONG)
    check_end(engine, drafter)


def test_preempted_sequences_go_on() -> None:
    engine, drafter, _ = make(num_blocks=14, draft={"num_blocks": 14})
    requests = [make_request(str(i), [*PROMPT, i], 25) for i in range(6)]
    for request in requests:
        engine.add(request)
    check_tokens(engine, requests, 56)
    assert engine.stats().num_preemptions > 0
    assert engine.stats().num_draft_tokens > 20 and share(engine) == 1.0
    check_end(engine, drafter)


def test_without_room_there_are_no_drafts() -> None:
    engine, drafter, _ = make(draft={"num_blocks": 5})
    requests = [make_request(str(i), [i, *PROMPT], 30) for i in range(4)]
    for request in requests:
        engine.add(request)
    check_tokens(engine, requests)
    assert engine.stats().num_draft_tokens > 0 and share(engine) == 1.0
    check_end(engine, drafter)


def test_a_cancelled_request_frees_its_blocks_at_once() -> None:
    engine, drafter, _ = make()
    for name in "ab":
        engine.add(make_request(name, [ord(name) % 50, *PROMPT], 40))
    for _ in range(3):
        engine.step()
    assert len(drafter._cache.followers) == 2
    engine.cancel("a")
    check_draft_cache(drafter)
    assert len(drafter._cache.followers) == 1
    engine.abort_all()
    check_end(engine, drafter)


def test_a_shorter_context_drafts_while_it_fits() -> None:
    engine, drafter, _ = make(draft={"context_length": 30})
    request = make_request("r", PROMPT, 56)
    engine.add(request)
    check_tokens(engine, [request])
    assert share(engine) == 1.0
    assert engine.stats().num_accepted_tokens > 10
    assert engine.stats().num_steps > 56 - 22  # the last ones are alone
    check_end(engine, drafter)


def test_a_draft_model_that_fails_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    engine, drafter, executor = make()
    request = make_request("r", PROMPT, 25)
    engine.add(request)
    outputs = engine.step() + engine.step()

    def fail(num_tokens: int) -> None:
        raise MemoryError

    executor.on_step = fail
    outputs += [output for several in run_all(engine).values() for output in several]
    assert tokens_of(outputs) == continuation(request, 64)[0]
    assert "Drafting failed" in caplog.text
    assert drafter._cache.pool.num_free == drafter._cache.pool.num_blocks
    engine.close()
    assert executor.is_closed


def test_a_step_never_has_more_tokens_than_the_executor_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_model, "MAX_STEP_TOKENS", 7 * NEAR)
    engine, drafter, executor = make(context_length=240, num_blocks=600, draft={"num_blocks": 600}, max_num_seqs=7)
    requests = [make_request(str(i), [i, *LONG][: 20 + 18 * i], 30) for i in range(7)]
    for request in requests:
        engine.add(request)
    check_tokens(engine, requests, 240)
    assert max(executor.num_tokens) <= 7 * NEAR
    check_end(engine, drafter)
