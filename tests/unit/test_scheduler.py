"""The policy: budget, order, chunks, preemption, sharing of prefixes."""

import itertools
from collections.abc import Iterable
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fake_engine import check_pool, continuation, make_engine, make_request, run_all, tokens_of
from inglenook.engine.batch import build_step_input
from inglenook.engine.budget import StepBudget


def prompt(length: int, first: int = 0) -> list[int]:
    return [(first + i) % 50 for i in range(length)]


def test_long_prompt_comes_in_chunks_and_never_stalls_a_stream() -> None:
    engine, runner = make_engine(max_num_batched_tokens=8)
    engine.add(make_request("stream", prompt(3), 20))
    engine.step()
    engine.add(make_request("long", prompt(30, 5), 2))
    for _ in range(5):
        engine.step()
    assert runner.steps[1:6] == [[("stream", 3 + i, 1), ("long", 7 * i, min(7, 30 - 7 * i))] for i in range(5)]


def test_prompts_share_a_step_in_order_of_arrival() -> None:
    engine, runner = make_engine(max_num_batched_tokens=10)
    for name in "abc":
        engine.add(make_request(name, prompt(4, ord(name)), 2))
    engine.step()
    assert runner.steps == [[("a", 0, 4), ("b", 0, 4), ("c", 0, 2)]]
    engine.step()
    assert runner.steps[1] == [("a", 4, 1), ("b", 4, 1), ("c", 2, 2)]


def test_a_prompt_beyond_the_budget_keeps_later_ones_waiting() -> None:
    engine, runner = make_engine(max_num_batched_tokens=8)
    engine.add(make_request("long", prompt(16), 2))
    engine.add(make_request("short", prompt(2, 30), 2))
    engine.step()
    assert [s.request.request_id for s in engine.scheduler.waiting] == ["short"]
    engine.step()
    engine.step()
    assert runner.steps[2] == [("long", 16, 1), ("short", 0, 2)]


def test_lower_priority_number_goes_first_then_arrival() -> None:
    engine, runner = make_engine(max_num_seqs=1)
    for name, priority in [("a", 1), ("b", 0), ("c", 1), ("d", -1)]:
        engine.add(make_request(name, prompt(2, ord(name)), 1, priority=priority))
    run_all(engine)
    assert [step[0][0] for step in runner.steps] == ["d", "b", "a", "c"]


def test_urgent_request_takes_the_seat_of_a_lesser_one() -> None:
    engine, runner = make_engine(max_num_seqs=2, enable_prefix_caching=False)
    requests = [make_request(name, prompt(5, ord(name)), 6, priority=1) for name in "ab"]
    for request in requests:
        engine.add(request)
    engine.step()
    engine.step()
    engine.add(make_request("peer", prompt(5, 40), 1, priority=1))
    engine.add(make_request("urgent", prompt(5, 20), 1, priority=0))
    outputs = run_all(engine)
    assert [name for name, _, _ in runner.steps[2]] == ["a", "urgent"]
    assert engine.stats().num_preemptions == 1
    for request in requests:  # "peer" preempts nobody, and who was preempted goes on where it was
        assert continuation(request, 64)[0][2:] == tokens_of(outputs[request.request_id])


def test_urgent_request_never_makes_a_step_larger_than_the_budget() -> None:
    engine, runner = make_engine(max_num_seqs=8, max_num_batched_tokens=3)
    for name in "abc":
        engine.add(make_request(name, prompt(1, ord(name)), 9, priority=1))
        engine.step()
    engine.add(make_request("urgent", prompt(1), 2))
    run_all(engine)
    assert max(sum(n for _, _, n in step) for step in runner.steps) == 3


def test_the_lesser_is_preempted_even_if_it_came_first() -> None:
    engine, runner = make_engine(num_blocks=6, block_size=4, context_length=24)
    engine.add(make_request("lesser", prompt(5), 15, priority=1))
    engine.step()
    engine.add(make_request("urgent", prompt(5, 20), 15))
    outputs = run_all(engine)
    assert engine.stats().num_preemptions == 1
    assert (len(outputs["lesser"]), len(outputs["urgent"])) == (14, 15)
    urgent_starts = [start for step in runner.steps for name, start, _ in step if name == "urgent"]
    assert urgent_starts == [0, *range(5, 19)]


def test_the_youngest_is_preempted_and_goes_on_from_its_cached_prefix() -> None:
    engine, runner = make_engine(num_blocks=10, block_size=4, context_length=40)
    requests = [make_request(name, prompt(10, ord(name)), 18) for name in "abc"]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert engine.stats().num_preemptions > 0
    for request in requests:
        assert (tokens_of(outputs[request.request_id]), "length") == continuation(request, 40)
    ends = {name: max(i for i, step in enumerate(runner.steps) if step and name in str(step)) for name in "abc"}
    assert ends["a"] < ends["b"] < ends["c"]
    starts = [start for step in runner.steps for name, start, _ in step if name == "b"]
    restarts = [later for earlier, later in itertools.pairwise(starts) if later < earlier]
    assert restarts and all(start > 0 for start in restarts)
    assert engine.scheduler.pool.num_free == 10


def test_max_tokens_reserves_nothing() -> None:
    engine, _ = make_engine(num_blocks=16, block_size=4, context_length=64, max_num_batched_tokens=64)
    for i in range(8):
        engine.add(make_request(str(i), prompt(4, i), 60))
    engine.step()
    assert len(engine.scheduler.running) == 8


def test_cancelled_request_frees_its_blocks_at_once() -> None:
    engine, _runner = make_engine(max_num_batched_tokens=8)
    engine.add(make_request("a", prompt(20), 5))
    engine.add(make_request("b", prompt(6, 30), 5))
    engine.step()
    for name in "ab":
        engine.cancel(name)
    check_pool(engine.scheduler)
    assert engine.scheduler.pool.num_free == 64
    assert not engine.has_work()
    engine.cancel("a")  # ended already
    engine.cancel("nobody")


def test_decodes_beyond_the_budget_are_not_seated() -> None:
    engine, runner = make_engine(max_num_seqs=8, max_num_batched_tokens=3)
    requests = [make_request(str(i), prompt(2, i * 7), 9) for i in range(7)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    assert max(sum(n for _, _, n in step) for step in runner.steps) == 3
    assert all(tokens_of(outputs[r.request_id]) == continuation(r, 64)[0] for r in requests)


def test_cached_prefix_is_not_computed_again_but_the_last_token_is() -> None:
    engine, runner = make_engine(block_size=4)
    first = make_request("first", prompt(12), 4)
    engine.add(first)
    tokens = tokens_of(run_all(engine)["first"])
    num_steps = len(runner.steps)
    engine.add(make_request("second", prompt(12), 4))
    outputs = run_all(engine)["second"]
    assert runner.steps[num_steps] == [("second", 11, 1)]
    assert tokens_of(outputs) == tokens == continuation(first, 64)[0]
    assert [output.num_cached_tokens for output in outputs] == [11, 0, 0, 0]
    stats = engine.stats()
    assert (stats.num_prefix_query_tokens, stats.num_prefix_hit_tokens) == (24, 11)


def test_a_further_turn_reuses_the_answer_too() -> None:
    engine, runner = make_engine(block_size=4)
    engine.add(make_request("first", prompt(8), 8))
    answer = tokens_of(run_all(engine)["first"])
    num_steps = len(runner.steps)
    engine.add(make_request("second", prompt(8) + answer + prompt(3), 1))
    run_all(engine)
    assert runner.steps[num_steps] == [("second", 15, 4)], "the answer's last token was never computed"


def test_salts_and_the_switch_keep_prefixes_apart() -> None:
    engine, runner = make_engine()
    for name, salt in [("a", ""), ("b", "tenant"), ("c", "tenant")]:
        engine.add(make_request(name, prompt(12), 1, cache_salt=salt))
        run_all(engine)
    assert [step[0][1] for step in runner.steps] == [0, 0, 11]
    engine, runner = make_engine(enable_prefix_caching=False)
    for name in "ab":
        engine.add(make_request(name, prompt(12), 1))
        run_all(engine)
    assert [step[0][1] for step in runner.steps] == [0, 0]
    assert engine.stats().num_prefix_query_tokens == 0


def test_siblings_wait_for_the_prefix_that_is_being_computed() -> None:
    engine, runner = make_engine(max_num_batched_tokens=8)
    requests = [make_request(str(i), [*prompt(22), i], 3) for i in range(4)]
    for request in requests:
        engine.add(request)
    engine.add(make_request("other", prompt(2, 40), 3))
    outputs = run_all(engine)
    num_prompt_tokens = sum(n for step in runner.steps for _, start, n in step if start < 20)
    assert num_prompt_tokens == 23 + 2 + 2  # the prefix once, to the end of "0"; "other" whole, and its two decodes
    for request in requests:
        assert tokens_of(outputs[request.request_id]) == continuation(request, 64)[0]


def test_waiting_siblings_keep_their_seats() -> None:
    engine, runner = make_engine(max_num_seqs=2, max_num_batched_tokens=5)
    engine.add(make_request("0", [*prompt(8), 0], 3))
    engine.step()
    engine.add(make_request("1", [*prompt(8), 1], 3))
    engine.add(make_request("later", prompt(1, 40), 3))
    for _ in range(2):
        engine.step()
    assert runner.steps == [[("0", 0, 5)], [("0", 5, 4)], [("0", 9, 1), ("1", 8, 1)]]


def test_nobody_waits_for_a_prefix_that_a_lesser_one_computes() -> None:
    engine, runner = make_engine(max_num_batched_tokens=8)
    engine.add(make_request("lesser", prompt(24), 3, priority=1))
    engine.step()
    engine.add(make_request("urgent", prompt(24), 3))
    engine.step()
    assert runner.steps[1] == [("urgent", 8, 8)]


def test_a_block_is_found_as_far_as_it_is_computed() -> None:
    engine, runner = make_engine(block_size=4, max_num_batched_tokens=6)
    engine.add(make_request("cut", prompt(8), 3))
    engine.step()
    engine.cancel("cut")
    request = make_request("next", [*prompt(8), 9], 3)
    engine.add(request)
    assert tokens_of(run_all(engine)["next"]) == continuation(request, 64)[0]
    assert runner.steps[1] == [("next", 6, 3)]


def test_sibling_goes_ahead_when_the_one_it_waits_for_is_cancelled() -> None:
    engine, runner = make_engine(max_num_batched_tokens=8)
    requests = [make_request(name, prompt(23), 2) for name in "ab"]
    for request in requests:
        engine.add(request)
    engine.step()
    engine.cancel("a")
    assert tokens_of(run_all(engine)["b"]) == continuation(requests[1], 64)[0]
    assert runner.steps[1] == [("b", 8, 8)]


def test_newcomers_never_starve_who_was_first() -> None:
    engine, _ = make_engine(num_blocks=12, block_size=4, context_length=48, max_num_seqs=4)
    engine.add(make_request("first", prompt(10), 30))
    ended = []
    for i in range(200):
        engine.add(make_request(f"new{i}", prompt(6, i), 4))
        ended += [o.request_id for o in engine.step() if o.finish_reason]
        if "first" in ended:
            break
    assert "first" in ended
    assert i < 40


def test_step_input_lays_chunks_out_flat() -> None:
    engine, _ = make_engine(block_size=4, max_num_batched_tokens=8)
    engine.add(make_request("a", prompt(5), 5))
    engine.step()
    engine.add(make_request("b", prompt(20, 10), 5))
    step = engine.scheduler.schedule()
    x = build_step_input(step)
    a, b = (chunk.sequence for chunk in step.chunks)
    assert x.token_ids.tolist() == [a.token_ids[5], *range(10, 17)]
    assert x.positions.tolist() == [5, 0, 1, 2, 3, 4, 5, 6]
    expected_slots = [a.block_ids[1] * 4 + 1, *(b.block_ids[p // 4] * 4 + p % 4 for p in range(7))]
    assert x.slot_mapping.tolist() == expected_slots
    assert x.query_starts.tolist() == [0, 1, 8]
    assert x.context_lengths.tolist() == [6, 7]
    assert x.block_tables.tolist() == [a.block_ids[:2], b.block_ids[:2]]
    assert x.selected_rows.tolist() == [0]
    assert x.token_type_ids is None
    for array in (values for name, values in vars(x).items() if name != "token_type_ids"):
        assert array.dtype == "int32" and array.flags.c_contiguous


class ScriptedBudget(StepBudget):
    """A prompt token takes a second."""

    def __init__(self, seconds: Iterable[float]) -> None:
        super().__init__()
        self.seconds = iter(seconds)
        self.observed: list[tuple[int, int, float]] = []

    def prompt_seconds(self, num_decodes: int) -> float | None:
        return next(self.seconds) if num_decodes else None

    def tokens_within(self, seconds: float, start: int) -> int:
        return int(seconds)

    def seconds_of(self, start: int, num_tokens: int) -> float:
        return num_tokens

    def observe(self, num_decodes: int, num_prompt_tokens: int, mean_position: float, seconds: float) -> None:
        self.observed.append((num_decodes, num_prompt_tokens, mean_position))


def test_prompts_beside_decodes_get_the_time_that_the_budget_says() -> None:
    budget = ScriptedBudget([3, 0, 0.5, 8, 100])
    engine, runner = make_engine(budget=budget)
    engine.add(make_request("a", prompt(5), 30))
    engine.step()
    engine.add(make_request("b", prompt(10, 10), 30))
    engine.add(make_request("c", prompt(20, 20), 30))
    for _ in range(5):
        engine.step()
    assert runner.steps == [
        [("a", 0, 5)],
        [("a", 5, 1), ("b", 0, 3)],
        [("a", 6, 1)],
        [("a", 7, 1), ("b", 3, 1)],  # one at least
        [("a", 8, 1), ("b", 4, 6), ("c", 0, 2)],
        [("a", 9, 1), ("b", 10, 1), ("c", 2, 14)],  # max_num_batched_tokens
    ]
    assert budget.observed == [
        (0, 5, 2.5),
        (1, 3, 1.5),
        (1, 0, 0),
        (1, 1, 3.5),
        (1, 8, (6 * 7 + 2 * 1) / 8),
        (2, 14, 9),
    ]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 16))
@settings(max_examples=50, deadline=None)
def test_the_budget_never_changes_what_comes_out(seconds: list[int], most: int) -> None:
    engine, _ = make_engine(budget=ScriptedBudget(cycle([*seconds, 1])), max_num_batched_tokens=most)
    requests = [make_request(str(i), prompt(3 + 9 * i, i), 12) for i in range(5)]
    for request in requests:
        engine.add(request)
    outputs = run_all(engine)
    for request in requests:
        assert tokens_of(outputs[request.request_id]) == continuation(request, 64)[0]
