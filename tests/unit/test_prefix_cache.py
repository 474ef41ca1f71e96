"""Prefixes are shared by token: what is copied, who waits for whom, and what becomes of it when things go wrong."""

import pytest

from fixtures.drafters import check_draft_cache, eager, make_draft_model
from fixtures.fake_engine import (
    VOCAB_SIZE,
    FakeRunner,
    check_pool,
    continuation,
    make_engine,
    make_request,
    run_all,
    tokens_of,
)
from fixtures.guides import HashGuide
from inglenook.engine import prefix_cache
from inglenook.engine.budget import StepBudget
from inglenook.engine.engine import Engine
from inglenook.engine.request import EngineRequest


def prompt(length: int, first: int = 0) -> list[int]:
    return [(first + i) % 50 for i in range(length)]


def ask(engine: Engine, request: EngineRequest) -> int:
    """Alone, and its tokens are right; how many of its prompt's were cached."""
    engine.add(request)
    outputs = run_all(engine)[request.request_id]
    assert tokens_of(outputs) == continuation(request, engine.scheduler.context_length)[0]
    check_pool(engine.scheduler)
    return outputs[0].num_cached_tokens


def num_computed(runner: FakeRunner, num_prompt_tokens: int) -> int:
    """Tokens of prompts."""
    return sum(max(0, min(start + n, num_prompt_tokens) - start) for step in runner.steps for _, start, n in step)


@pytest.mark.parametrize("length", [6, 15, 16, 17, 31, 32, 33, 45])
def test_choices_of_a_prompt_compute_it_once(length: int) -> None:
    engine, runner = make_engine(block_size=16, max_num_batched_tokens=64)
    requests = [make_request(str(i), prompt(length), 10) for i in range(4)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert all(tokens_of(outputs[r.request_id]) == continuation(r, 64)[0] for r in requests)
    assert [outputs[str(i)][0].num_cached_tokens for i in range(4)] == [0, *[length - 1] * 3]
    assert num_computed(runner, length) == length + 3
    assert engine.scheduler.pool.num_free == 64


def test_the_last_few_tokens_of_a_prompt_in_chunks_are_not_awaited() -> None:
    engine, runner = make_engine(block_size=16, max_num_batched_tokens=7)
    for i in range(4):
        engine.add(make_request(str(i), prompt(45), 10))
    outputs = run_all(engine)
    cached = [outputs[str(i)][0].num_cached_tokens for i in range(1, 4)]
    assert all(44 - prefix_cache.MIN_AWAITED < count <= 44 for count in cached) and min(cached) < 44
    assert num_computed(runner, 45) == 45 + 3 * 45 - sum(cached)


def test_prompts_with_a_common_beginning_compute_it_once() -> None:
    engine, runner = make_engine(block_size=16, max_num_batched_tokens=64)
    requests = [make_request(str(i), prompt(21) + [40 + i] * (3 + i), 5) for i in range(4)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert all(tokens_of(outputs[r.request_id]) == continuation(r, 64)[0] for r in requests)
    assert [outputs[str(i)][0].num_cached_tokens for i in range(4)] == [0, 21, 21, 21]
    assert runner.steps[0] == [("0", 0, 24)]


def test_few_tokens_in_common_are_neither_awaited_nor_copied() -> None:
    engine, runner = make_engine(block_size=16)
    for i in range(2):
        engine.add(make_request(str(i), [*prompt(prefix_cache.MIN_AWAITED - 1), 30 + i, 7], 2))
    engine.step()
    assert [name for name, _, _ in runner.steps[0]] == ["0", "1"]
    run_all(engine)
    assert ask(engine, make_request("beginning", [0, 44, 45], 1)) == 0
    assert ask(engine, make_request("two", [0, 1, 44], 1)) == prefix_cache.MIN_COPIED


def test_a_further_turn_copies_the_answer_too() -> None:
    engine, _ = make_engine(block_size=16)
    first = make_request("first", prompt(9), 12)
    ask(engine, first)
    history = prompt(9) + continuation(first, 64)[0]
    assert ask(engine, make_request("other", [*history[:14], 49, 49], 4)) == 14
    # The first conversation's block is as it was, though another went on from its middle.
    assert ask(engine, make_request("second", [*history, 3, 1, 4], 4)) == len(history) - 1
    assert ask(engine, make_request("third", [*history, 3, 4], 4)) == len(history) + 1


def test_the_block_with_most_in_common_is_copied() -> None:
    engine, _ = make_engine(block_size=16)
    for i, length in enumerate([3, 9, 6]):
        ask(engine, make_request(str(i), [*prompt(length), 40 + i, 40, 40, 40], 1))
    assert ask(engine, make_request("x", prompt(14), 1)) == 9
    assert ask(engine, make_request("y", [*prompt(6), 42, 40, 1], 1)) == 8


def test_full_blocks_are_copied_where_a_prompt_leaves_them() -> None:
    engine, _ = make_engine(block_size=8)
    ask(engine, make_request("long", prompt(30), 1))
    assert ask(engine, make_request("cut", [*prompt(21), 49, 49, 49, 49], 3)) == 21
    assert ask(engine, make_request("end", prompt(24), 3)) == 23


def test_salts_keep_beginnings_apart() -> None:
    engine, runner = make_engine(block_size=16, max_num_batched_tokens=24)
    ask(engine, make_request("a", prompt(12), 1))
    assert ask(engine, make_request("b", prompt(12), 1, cache_salt="tenant")) == 0
    assert ask(engine, make_request("c", prompt(12), 1, cache_salt="tenant")) == 11
    num_steps = len(runner.steps)
    for salt in ("x", "y"):
        engine.add(make_request(salt, prompt(12, 20), 1, cache_salt=salt))
    engine.step()
    assert runner.steps[num_steps] == [("x", 0, 12), ("y", 0, 12)], "neither waits for the other"


def test_the_running_are_copied_from_too() -> None:
    engine, _ = make_engine(block_size=16, max_num_batched_tokens=32)
    first = make_request("first", prompt(5), 30)
    engine.add(first)
    for _ in range(7):
        engine.step()
    history = prompt(5) + continuation(first, 64)[0][:6]
    request = make_request("second", [*history, 49], 3)
    engine.add(request)
    outputs = run_all(engine)
    assert outputs["second"][0].num_cached_tokens == len(history)
    assert tokens_of(outputs["second"]) == continuation(request, 64)[0]
    assert tokens_of(outputs["first"]) == continuation(first, 64)[0][7:]


def test_who_waits_goes_ahead_when_the_first_is_cancelled() -> None:
    engine, runner = make_engine(block_size=16, max_num_batched_tokens=9)
    requests = [make_request(name, prompt(14), 4) for name in "abc"]
    for request in requests:
        engine.add(request)
    engine.step()
    engine.cancel("a")
    outputs = run_all(engine)
    assert runner.steps[:3] == [[("a", 0, 9)], [("b", 9, 5)], [("b", 14, 1), ("c", 13, 1)]]
    assert all(tokens_of(outputs[r.request_id]) == continuation(r, 64)[0] for r in requests[1:])


def test_nobody_waits_for_what_a_stream_says() -> None:
    engine, runner = make_engine(block_size=16)
    first = make_request("first", prompt(4), 50)
    engine.add(first)
    for _ in range(3):
        engine.step()
    engine.add(make_request("prophet", prompt(4) + continuation(first, 64)[0], 3))
    engine.step()
    assert runner.steps[3] == [("first", 6, 1), ("prophet", 6, 15)]


def test_a_source_is_not_reused_before_it_is_copied() -> None:
    """Its only free blocks are the source and one more: what runs beside takes that, and nobody the source."""
    engine, _ = make_engine(num_blocks=4, block_size=8, context_length=32)
    ask(engine, make_request("old", prompt(6), 1))
    requests = [make_request("new", [*prompt(5), 40, 41], 2), make_request("other", prompt(12, 20), 2)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert outputs["new"][0].num_cached_tokens == 5
    assert all(tokens_of(outputs[r.request_id]) == continuation(r, 32)[0] for r in requests)


def test_without_room_for_the_copy_nothing_is_copied() -> None:
    engine, _ = make_engine(num_blocks=2, block_size=8, context_length=16)
    ask(engine, make_request("old", prompt(15), 1))
    assert ask(engine, make_request("again", prompt(12), 2)) == 8  # the second block is the one that it gets
    assert ask(engine, make_request("short", prompt(6), 2)) == 5


class NothingBesideDecodes(StepBudget):
    def prompt_seconds(self, num_decodes: int) -> float | None:
        return 0 if num_decodes else None


@pytest.mark.parametrize("is_source_at_work", [False, True])
@pytest.mark.parametrize("fails_after_copying", [False, True])
def test_a_copy_is_made_again_if_its_step_failed(
    fails_after_copying: bool, is_source_at_work: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, runner = make_engine(block_size=16, budget=NothingBesideDecodes())
    if not is_source_at_work:
        ask(engine, make_request("old", prompt(10), 1))
    engine.add(make_request("stream", prompt(10, 0 if is_source_at_work else 30), 50))
    engine.step()
    request = make_request("new", [*prompt(8), 30, 1, 2], 3)
    engine.add(request)

    def fail() -> None:
        raise RuntimeError

    if fails_after_copying:
        monkeypatch.setattr(runner.masks, "start", lambda step: fail())
    else:
        monkeypatch.setattr(runner, "on_step", fail)
    assert [output.request_id for output in engine.step()] == ["stream"]
    check_pool(engine.scheduler)
    [copy] = engine.scheduler._prefixes.copies  # it has started, and got no tokens in that step
    assert (copy.source in engine.scheduler.pool.contents) != is_source_at_work, "of what failed nothing is found"
    monkeypatch.undo()
    outputs = run_all(engine)
    assert tokens_of(outputs["new"]) == continuation(request, 64)[0]
    assert outputs["new"][0].num_cached_tokens == 8
    assert not engine.scheduler._prefixes.copies and engine.scheduler.pool.num_free == 64


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_copy_that_is_not_made_is_given_up_with_its_request(
    is_cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = make_engine(block_size=16)
    ask(engine, make_request("old", prompt(10), 1))
    engine.add(make_request("new", [*prompt(8), 30], 3))
    engine.scheduler.schedule()
    assert len(engine.scheduler._prefixes.copies) == 1
    check_pool(engine.scheduler)
    if is_cancelled:
        engine.cancel("new")
    else:
        engine.scheduler._preempt(engine.scheduler.running[0])
    check_pool(engine.scheduler)
    assert not engine.scheduler._prefixes.copies and engine.scheduler.pool.num_free == 64
    assert ask(engine, make_request("next", [*prompt(8), 30], 3)) == 8


def test_a_copy_that_is_not_made_is_not_found() -> None:
    engine, _ = make_engine(block_size=16)
    engine.add(make_request("source", prompt(10), 20))
    engine.step()
    engine.add(make_request("gone", [*prompt(8), 30], 3))
    engine.scheduler.schedule()
    assert len(engine.scheduler._prefixes.copies) == 1
    engine.cancel("gone")
    request = make_request("next", [*prompt(8), 30], 3)
    engine.add(request)
    assert tokens_of(run_all(engine)["next"]) == continuation(request, 64)[0]


def test_a_failed_row_is_not_found() -> None:
    engine, runner = make_engine(block_size=16)
    runner.broken = {"bad"}
    engine.add(make_request("bad", prompt(10), 3))
    run_all(engine)
    runner.broken = set()
    assert ask(engine, make_request("next", prompt(10), 3)) == 0


def test_what_a_guide_forces_behind_the_prompt_is_no_cached_part_of_it() -> None:
    engine, _ = make_engine(block_size=16)
    seed = next(seed for seed in range(99) if HashGuide(VOCAB_SIZE, seed).forced())
    for _ in range(2):
        request = make_request("r", prompt(6), 20, start_guide=lambda: HashGuide(VOCAB_SIZE, seed))
        engine.add(request)
        outputs = run_all(engine)["r"]
    assert outputs[0].num_cached_tokens == 6
    stats = engine.stats()
    assert (stats.num_prefix_query_tokens, stats.num_prefix_hit_tokens) == (12, 6)


def test_the_logits_of_a_prompt_are_computed_though_its_beginning_is_known() -> None:
    engine, runner = make_engine(block_size=16)
    ask(engine, make_request("old", prompt(10), 1))
    num_steps = len(runner.steps)
    assert ask(engine, make_request("scored", prompt(10), 1, prompt_logprobs=0)) == 0
    assert runner.steps[num_steps][0][:2] == ("scored", 0)


def test_without_prefix_caching_nothing_is_copied() -> None:
    engine, runner = make_engine(block_size=16, enable_prefix_caching=False)
    for i in range(3):
        engine.add(make_request(str(i), prompt(5), 3))
    run_all(engine)
    assert len(runner.steps[0]) == 3
    assert engine.stats().num_prefix_hit_tokens == 0


def test_a_draft_model_computes_a_beginning_once() -> None:
    drafter, executor = make_draft_model(block_size=16)
    engine, _ = make_engine(block_size=16, speculator=eager(drafter, max_rows=16, max_draft_tokens=3))
    requests = [make_request(str(i), [*prompt(13), 30 + i], 20) for i in range(3)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert all(tokens_of(outputs[r.request_id]) == continuation(r, 64)[0] for r in requests)
    stats = engine.stats()
    assert stats.num_accepted_tokens == stats.num_draft_tokens > 30, "what it has copied is right"
    check_draft_cache(drafter)
    assert drafter._cache.pool.num_free == 64
    num_steps = len(executor.num_tokens)
    assert ask(engine, make_request("later", [*prompt(13), 31], 9)) == 13
    assert executor.num_tokens[num_steps] == 1, "only the sampled token is missing"
