"""The synchronous engine: stop rules, refusals, failures, counters."""

import pytest

from fixtures.fake_engine import check_pool, continuation, make_engine, make_request, run_all, tokens_of
from inglenook.engine.engine import MAX_FAILED_STEPS
from inglenook.errors import ContextLengthError, EngineError, InvalidRequestError

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]


def fail() -> None:
    raise RuntimeError("kernel fault")


@pytest.fixture
def output() -> list[int]:
    """What the fake model says to PROMPT."""
    return continuation(make_request("r", PROMPT, 20), 64)[0]


def test_max_tokens_ends_with_length(output: list[int]) -> None:
    engine, _ = make_engine()
    engine.add(make_request("r", PROMPT, 5))
    outputs = run_all(engine)["r"]
    assert tokens_of(outputs) == output[:5]
    assert [o.finish_reason for o in outputs] == [None] * 4 + ["length"]


def test_end_of_text_stop_tokens_and_ignore_eos(output: list[int]) -> None:
    eos = output[3]
    assert eos not in output[:3]
    engine, _ = make_engine()
    engine.add(make_request("eos", PROMPT, 20, eos_token_ids=frozenset({eos})))
    engine.add(make_request("stop", PROMPT, 20, stop_token_ids=(eos,), ignore_eos=True))
    engine.add(make_request("ignored", PROMPT, 20, eos_token_ids=frozenset({eos}), ignore_eos=True))
    outputs = run_all(engine)
    for name in ("eos", "stop"):
        assert tokens_of(outputs[name]) == output[:4]
        assert (outputs[name][-1].finish_reason, outputs[name][-1].stop_token_id) == ("stop", eos)
    assert tokens_of(outputs["ignored"]) == output
    assert (outputs["ignored"][-1].finish_reason, outputs["ignored"][-1].stop_token_id) == ("length", None)


def test_no_tokens_wanted() -> None:
    engine, runner = make_engine()
    engine.add(make_request("r", PROMPT, 0))
    assert engine.has_work()
    (only,) = run_all(engine)["r"]
    assert (only.tokens, only.finish_reason) == ((), "length")
    assert runner.steps == []


@pytest.mark.parametrize("max_tokens", [None, 10**9])
def test_end_of_context_ends_with_length(max_tokens: int | None) -> None:
    engine, _ = make_engine(context_length=21)
    engine.add(make_request("r", PROMPT, max_tokens))
    outputs = run_all(engine)["r"]
    assert len(tokens_of(outputs)) == 13
    assert outputs[-1].finish_reason == "length"


def test_a_prompt_that_fills_the_context_gets_no_token() -> None:
    engine, _ = make_engine(context_length=len(PROMPT))
    engine.add(make_request("r", PROMPT, 5))
    (only,) = run_all(engine)["r"]
    assert (only.tokens, only.finish_reason) == ((), "length")


def test_generation_beyond_the_whole_cache_ends_with_length() -> None:
    engine, _ = make_engine(num_blocks=5, block_size=4, context_length=64)
    for name in ("a", "b"):
        engine.add(make_request(name, PROMPT, 50))
    outputs = run_all(engine)
    for name in ("a", "b"):
        assert (tokens_of(outputs[name]), outputs[name][-1].finish_reason) == continuation(
            make_request(name, PROMPT, 50), 20
        )


def test_what_can_never_be_served_is_refused() -> None:
    engine, _ = make_engine(num_blocks=4, block_size=4, context_length=64)
    with pytest.raises(ContextLengthError, match=r"17 tokens.* 16"):
        engine.add(make_request("r", [1] * 17))
    for prompt, message in [([], "no tokens"), ([50], "0 to 49"), ([-1], "0 to 49")]:
        with pytest.raises(InvalidRequestError, match=message):
            engine.add(make_request("r", prompt))
    with pytest.raises(InvalidRequestError, match="token 50"):
        engine.add(make_request("r", PROMPT, logit_bias={50: 1.0}))
    engine.add(make_request("r", PROMPT))
    with pytest.raises(InvalidRequestError, match="unique"):
        engine.add(make_request("r", PROMPT))
    with pytest.raises(ValueError, match="temperature"):
        engine.add(make_request("hot", PROMPT, temperature=3.0))
    assert list(run_all(engine)) == ["r"]


def test_failed_row_ends_only_its_request_and_leaves_nothing_in_the_cache(output: list[int]) -> None:
    engine, runner = make_engine(block_size=4, max_num_batched_tokens=6)
    runner.broken = {"bad"}
    good = make_request("good", [*PROMPT[:4], 7], 9)
    engine.add(good)
    engine.add(make_request("bad", PROMPT * 2, 6))
    outputs = run_all(engine)
    assert isinstance(outputs["bad"][-1].error, EngineError)
    assert tokens_of(outputs["good"]) == continuation(good, 64)[0]
    assert engine.is_healthy
    check_pool(engine.scheduler)
    engine.add(make_request("again", [*PROMPT, *PROMPT, 0], 6))
    again = run_all(engine)["again"]
    assert again[0].num_cached_tokens == 4  # what "good" has computed, nothing of "bad"


def test_failed_step_leaves_nothing_in_the_cache(output: list[int]) -> None:
    engine, runner = make_engine(block_size=4, max_num_batched_tokens=4)
    engine.add(make_request("r", PROMPT, 6))
    engine.step()
    runner.on_step = fail
    engine.step()
    runner.on_step = lambda: None
    engine.add(make_request("again", PROMPT, 6))
    again = run_all(engine)["again"]
    assert (again[0].num_cached_tokens, tokens_of(again)) == (0, output[:6])


def test_failed_step_ends_its_requests_and_the_next_ones_go_on() -> None:
    engine, runner = make_engine(max_num_seqs=2)

    requests = [make_request(name, [ord(name) % 50] * 6) for name in "abc"]
    for request in requests:
        engine.add(request)
    runner.on_step = fail
    outputs = engine.step()
    assert [(o.request_id, type(o.error)) for o in outputs] == [("a", EngineError), ("b", EngineError)]
    assert outputs[0].error is not outputs[1].error
    assert "kernel fault" not in str(outputs[0].error)
    check_pool(engine.scheduler)
    runner.on_step = lambda: None
    assert engine.is_healthy
    assert tokens_of(run_all(engine)["c"]) == continuation(requests[2], 64)[0]


def test_unhealthy_while_steps_fail_in_a_row() -> None:
    engine, runner = make_engine()

    runner.on_step = fail
    for i in range(MAX_FAILED_STEPS):
        assert engine.is_healthy
        engine.add(make_request(str(i), PROMPT))
        engine.step()
    assert not engine.is_healthy
    assert engine.stats().num_failed_steps == MAX_FAILED_STEPS
    runner.on_step = lambda: None
    engine.add(make_request("r", PROMPT))
    engine.step()
    assert engine.is_healthy
    runner.on_step = fail
    engine.step()
    assert engine.is_healthy  # they count in a row


def test_counters_match_what_was_served() -> None:
    engine, _ = make_engine()
    for name, length, max_tokens in [("a", 5, 3), ("b", 9, 7), ("gone", 4, 9)]:
        engine.add(make_request(name, PROMPT[:1] * length, max_tokens))
    engine.step()
    stats = engine.stats()
    assert (stats.num_running + stats.num_waiting, stats.kv_cache_usage > 0) == (3, True)
    engine.cancel("gone")
    outputs = run_all(engine)
    stats = engine.stats()
    assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)
    assert stats.num_generation_tokens >= 10 and len(outputs) == 2
    assert stats.num_prompt_tokens in (14, 18)
    engine.close()
