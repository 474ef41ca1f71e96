"""Requests that end before their tokens are out: by running in a circle, or when their time is over."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import token_probes
from fixtures.drafters import Scripted, eager
from fixtures.fake_engine import check_pool, continuation, make_engine, make_request, run_all, tokens_of
from inglenook.backends.choice import REPETITION_DETECTED, Choice
from inglenook.backends.generation_config import GenerationConfig
from inglenook.backends.prepare import Preparer
from inglenook.config import ModelSettings, RepetitionSettings, SpeculativeSettings
from inglenook.engine import engine as engine_module
from inglenook.engine.engine import Engine
from inglenook.engine.repetition import RepetitionWatch, watch_repetition
from inglenook.engine.request import EngineOutput, EngineRequest, SampledToken
from inglenook.engine.sequence import make_sequence
from inglenook.errors import ConfigError, InvalidRequestError
from inglenook.settings import gather
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import CompletionRequest, RepetitionDetection, SamplingParams

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]


# --- loops ------------------------------------------------------------------------------------------


def ends_in_a_loop(tokens: list[int], params: RepetitionDetection) -> bool:
    sizes = range(max(params.min_pattern_size, 1), params.max_pattern_size + 1)
    return any(
        len(tokens) >= size * params.min_count
        and tokens[-size * params.min_count :] == tokens[-size:] * params.min_count
        for size in sizes
    )


@given(
    tokens=st.lists(st.integers(0, 2), max_size=60),
    params=st.builds(RepetitionDetection, st.integers(1, 9), st.integers(0, 4), st.integers(2, 4)),
)
def test_loops_are_found_where_they_are_complete(tokens: list[int], params: RepetitionDetection) -> None:
    if params.min_pattern_size > params.max_pattern_size:
        return
    watch = RepetitionWatch(params)
    for count, token_id in enumerate(tokens, 1):
        assert watch.sees(token_id) == ends_in_a_loop(tokens[:count], params)


def test_no_pattern_no_watch() -> None:
    assert watch_repetition(None) is watch_repetition(RepetitionDetection()) is None


@pytest.mark.parametrize(
    ("params", "param"),
    [
        (RepetitionDetection(-1), "max_pattern_size"),
        (RepetitionDetection(2000, 0, 2), "max_pattern_size"),
        (RepetitionDetection(3, 4, 2), "min_pattern_size"),
        (RepetitionDetection(3, 1, 1), "min_count"),
    ],
)
def test_what_can_be_no_loop_is_refused(params: RepetitionDetection, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(repetition_detection=params).validate()
    assert caught.value.param == f"repetition_detection.{param}"


def test_a_sequence_ends_with_the_token_that_completes_a_loop() -> None:
    detection = RepetitionDetection(max_pattern_size=4, min_count=3)

    def ended(min_tokens: int = 0, stop_token_ids: tuple[int, ...] = ()) -> tuple[int, str | None, bool]:
        sampling = SamplingParams(
            repetition_detection=detection, min_tokens=min_tokens, stop_token_ids=stop_token_ids, max_tokens=50
        )
        sequence = make_sequence(EngineRequest("r", (8, 8, 8), sampling), 0, 100)
        return sequence.append([9, 1, 2, 1, 2, 1, 2, 1, 2, 7]), sequence.finish_reason, sequence.is_loop

    assert ended() == (7, "stop", True)  # the prompt doesn't count
    assert ended(min_tokens=8) == (8, "stop", True)
    assert ended(min_tokens=10) == (10, None, False)
    assert ended(stop_token_ids=(2,)) == (3, "stop", False)


@pytest.mark.parametrize("is_drafted", [False, True])
def test_a_model_in_a_circle_is_stopped(is_drafted: bool) -> None:
    sampling = SamplingParams(
        max_tokens=40,
        temperature=0.0,
        allowed_token_ids=(5,),
        repetition_detection=RepetitionDetection(max_pattern_size=3, min_pattern_size=2, min_count=4),
    )
    request = EngineRequest("r", tuple(PROMPT), sampling, is_drafted=is_drafted)
    with token_probes.engine(SpeculativeSettings("ngram")) as running:
        speculator = eager(Scripted({"r": [5] * 40}, 1.0), max_rows=16, max_draft_tokens=7)
        running._engine.scheduler.speculator = speculator
        outputs = list(running.generate_blocking([request]))
        assert running.stats().kv_cache_usage == 0.0
    assert tokens_of(outputs) == [5] * 8
    assert (outputs[-1].finish_reason, outputs[-1].is_loop, outputs[-1].stop_token_id) == ("stop", True, None)


class Forcing:
    """Nothing but 5, until eight of them are out; then two 7 must come."""

    is_finished = False
    num_accepted = 0

    def fill_mask(self, mask: npt.NDArray[np.uint32]) -> None:
        mask[:] = 0
        mask[0] = 1 << 5

    def forced(self) -> list[int]:
        return [7, 7] if self.num_accepted == 8 else []

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        return 0

    def accept(self, token_ids: Sequence[int]) -> None:
        self.num_accepted += len(token_ids)

    def rollback(self, num_tokens: int) -> None:
        self.num_accepted -= num_tokens


def test_nothing_is_forced_behind_a_loop() -> None:
    sampling = SamplingParams(max_tokens=40, repetition_detection=RepetitionDetection(1, 0, 8))
    with token_probes.engine(SpeculativeSettings("none")) as running:
        request = EngineRequest("r", tuple(PROMPT), sampling, start_guide=Forcing)
        outputs = list(running.generate_blocking([request]))
    assert tokens_of(outputs) == [5] * 8
    assert outputs[-1].is_loop


def test_the_answer_says_so() -> None:
    choice = Choice(0, Tokenizer.dummy(300), SamplingParams(), is_continuation=True)
    delta = choice.take(EngineOutput("r", (SampledToken(97),), "stop", is_loop=True))
    assert delta is not None
    assert (delta.text, delta.finish_reason, delta.stop_reason) == ("a", "stop", REPETITION_DETECTED)


# --- time -------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(engine_module, "time", clock)
    return clock


def step_until(engine: Engine, clock: Clock, end: float) -> list[EngineOutput]:
    outputs: list[EngineOutput] = []
    while engine.has_work() and clock.now < end:
        outputs += engine.step()
        clock.now += 1.0
    return outputs


def test_time_from_the_request_on(clock: Clock) -> None:
    engine, _ = make_engine()
    start = clock.now
    engine.add(make_request("r", PROMPT, 50, max_time_s=5.5, received=start))
    engine.add(make_request("free", PROMPT, 12))
    outputs = step_until(engine, clock, start + 60)
    mine = [output for output in outputs if output.request_id == "r"]
    assert tokens_of(mine) == continuation(make_request("r", PROMPT, 6), 64)[0]
    assert [output.finish_reason for output in mine] == [None] * 6 + ["length"]
    assert len(tokens_of([output for output in outputs if output.request_id == "free"])) == 12
    check_pool(engine.scheduler)
    assert not engine._timed


def test_time_from_the_first_token_on(clock: Clock) -> None:
    engine, _ = make_engine(max_num_batched_tokens=4)  # the prompt alone takes two steps
    engine.add(make_request("r", PROMPT, 50, max_generation_s=3.5))
    outputs = step_until(engine, clock, clock.now + 60)
    assert len(tokens_of(outputs)) == 4
    assert outputs[-1].finish_reason == "length"
    assert not engine.has_work()


def test_a_request_that_never_started_ends_too(clock: Clock) -> None:
    engine, _ = make_engine(max_num_seqs=1)
    start = clock.now
    engine.add(make_request("first", PROMPT, 20))
    engine.add(make_request("r", PROMPT, 20, max_time_s=3.0, received=start))
    outputs = step_until(engine, clock, start + 10)
    (only,) = [output for output in outputs if output.request_id == "r"]
    assert (only.tokens, only.finish_reason) == ((), "length")
    assert [sequence.request.request_id for sequence in engine.scheduler.sequences.values()] == ["first"]


def test_a_cancelled_request_is_forgotten(clock: Clock) -> None:
    engine, _ = make_engine()
    engine.add(make_request("r", PROMPT, 20, max_time_s=3.0))
    engine.step()
    engine.cancel("r")
    engine.add(make_request("r", PROMPT, 20))  # the same id, without a limit
    clock.now += 100
    assert len(tokens_of(run_all(engine)["r"])) == 20


@pytest.mark.parametrize("name", ["max_time_s", "max_generation_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**{name: value}).validate()  # type: ignore[arg-type]
    assert caught.value.param == name


# --- the server's default ---------------------------------------------------------------------------


def test_the_default_is_read_and_checked() -> None:
    def read(text: str) -> RepetitionDetection | None:
        values = gather((ModelSettings,), flags={"repetition_detection": text})
        return values.build(ModelSettings).repetition_detection.detection()

    assert read('{"max_pattern_size": 20, "min_count": 4}') == RepetitionDetection(20, 0, 4)
    assert read("off") is ModelSettings().repetition_detection.detection() is None
    assert str(ModelSettings().repetition_detection) == "off"
    with pytest.raises(ConfigError, match="min_count"):
        read('{"max_pattern_size": 20}')
    with pytest.raises(ConfigError, match="unknown key"):
        read('{"size": 20}')


@pytest.mark.parametrize(
    ("asked", "used"), [(None, RepetitionDetection(9, 0, 3)), (RepetitionDetection(), RepetitionDetection())]
)
def test_the_default_is_for_requests_that_do_not_say(
    asked: RepetitionDetection | None, used: RepetitionDetection
) -> None:
    settings = ModelSettings(repetition_detection=RepetitionSettings(9, 0, 3))
    tokenizer = Tokenizer.dummy(300)
    preparer = Preparer(tokenizer, None, GenerationConfig({}, frozenset()), 100, settings, vocab_size=300)
    request = CompletionRequest("r", "m", SamplingParams(repetition_detection=asked), prompts=("x",))
    assert preparer.prepare(request).engine_requests[0].sampling.repetition_detection == used
