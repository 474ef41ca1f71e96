"""The pooling engine on its thread: rows in order, order of service, cancellations, limits, failures, stopping."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fixtures.fake_pooling import MAX_MODEL_LEN, VOCAB_SIZE, FakePoolingRunner, make_pooling_engine, row_of
from inglenook.engine.engine import MAX_FAILED_STEPS
from inglenook.engine.pooling import PoolingEngine, PoolingInput
from inglenook.errors import ContextLengthError, EngineError, InvalidRequestError, OverloadedError, UnavailableError

Start = Callable[..., tuple[PoolingEngine, FakePoolingRunner]]
KINDS = [{"in_chunks": False}, {"in_chunks": True, "max_num_tokens": 13}]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[tuple[PoolingEngine, FakePoolingRunner]] = []

    def start(**options: Any) -> tuple[PoolingEngine, FakePoolingRunner]:
        started.append(make_pooling_engine(**options))
        return started[-1]

    yield start
    for engine, runner in started:
        engine.stop()
        assert runner.is_closed
        assert (engine.stats().num_running, engine.stats().num_waiting) == (0, 0)
        engine._queue.next_chunks()  # lets go of what was cut off
        assert not engine._queue.running and engine._queue.pool.usage == 0


def inputs_of(count: int, seed: int = 0) -> list[PoolingInput]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, MAX_MODEL_LEN + 1, count)
    return [PoolingInput(tuple(rng.integers(0, VOCAB_SIZE, length).tolist())) for length in lengths]


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it didn't come"
        time.sleep(0.002)


def hold(runner: FakePoolingRunner) -> threading.Event:
    """Hold the engine in each step until the event is set."""
    gate = threading.Event()
    runner.on_step = lambda: gate.wait(20) and None
    return gate


@pytest.mark.parametrize("kind", KINDS)
async def test_each_request_gets_its_rows_in_order(start: Start, kind: dict[str, Any]) -> None:
    engine, runner = start(**kind)
    requests = [inputs_of(1 + i % 7, seed=i) for i in range(40)]
    results = await asyncio.gather(*(engine.encode(inputs) for inputs in requests))
    for inputs, rows in zip(requests, results, strict=True):
        np.testing.assert_array_equal(rows, [row_of(item) for item in inputs])
    stats = engine.stats()
    assert stats.num_inputs == sum(map(len, requests))
    assert stats.num_prompt_tokens == sum(len(item.token_ids) for inputs in requests for item in inputs)
    assert stats.num_steps == len(runner.steps) < stats.num_prompt_tokens
    assert engine.is_healthy and await engine.encode([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_plain_threads(start: Start, kind: dict[str, Any]) -> None:
    engine, _ = start(**kind)
    requests = [inputs_of(3, seed=i) for i in range(30)]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(engine.encode_blocking, requests))
    for inputs, rows in zip(requests, results, strict=True):
        np.testing.assert_array_equal(rows, [row_of(item) for item in inputs])


async def test_priority_then_arrival(start: Start) -> None:
    engine, runner = start(max_num_seqs=1)
    gate = hold(runner)
    first = asyncio.create_task(engine.encode([PoolingInput((1,))]))
    await asyncio.sleep(0)
    wait_until(lambda: len(runner.steps) == 1)
    tasks = []
    for token, priority in ((2, 5), (3, 0), (4, 5), (5, -1), (6, 0)):
        tasks.append(asyncio.create_task(engine.encode([PoolingInput((token,))], priority=priority)))
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *tasks)
    assert [step[0].item.input.token_ids[0] for step in runner.steps] == [1, 5, 3, 6, 2, 4]


async def test_the_first_in_line_is_in_every_step(start: Start) -> None:
    """A long input isn't passed over for ever by short ones that would fill a step better."""
    engine, runner = start()
    gate = hold(runner)
    waiting = asyncio.create_task(engine.encode([PoolingInput((1,) * 30)] * 3))
    await asyncio.sleep(0)
    wait_until(lambda: len(runner.steps) == 1)
    short = [asyncio.create_task(engine.encode([PoolingInput((2,) * 9)])) for _ in range(10)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(waiting, *short)
    lengths = [[chunk.num_tokens for chunk in step] for step in runner.steps]
    assert lengths[:3] == [[30], [30], [30, 9]]


async def test_cancelling_drops_what_has_not_started(start: Start) -> None:
    engine, runner = start(max_num_seqs=2)
    gate = hold(runner)
    kept = asyncio.create_task(engine.encode([PoolingInput((7,))]))
    await asyncio.sleep(0)
    wait_until(lambda: len(runner.steps) == 1)
    dropped = asyncio.create_task(engine.encode([PoolingInput((8,) * 20)] * 50))
    after = asyncio.create_task(engine.encode([PoolingInput((9,))]))
    await asyncio.sleep(0)
    assert (engine.stats().num_running, engine.stats().num_waiting) == (1, 51)
    dropped.cancel()
    await asyncio.sleep(0.01)
    assert engine.stats().num_waiting == 1
    gate.set()
    await asyncio.gather(kept, after)
    with pytest.raises(asyncio.CancelledError):
        await dropped
    assert all(chunk.item.input.token_ids[0] != 8 for step in runner.steps for chunk in step)


async def test_cancelling_between_chunks_frees_the_blocks(start: Start) -> None:
    engine, runner = start(in_chunks=True, max_num_tokens=8)
    gate = hold(runner)
    task = asyncio.create_task(engine.encode([PoolingInput((8,) * 40)]))
    await asyncio.sleep(0)
    wait_until(lambda: len(runner.steps) == 1)
    task.cancel()
    await asyncio.sleep(0.01)
    gate.set()
    await engine.encode([PoolingInput((9,) * 40)])
    assert [step[0].item.input.token_ids[0] for step in runner.steps] == [8] + [9] * 5


async def test_limits(start: Start) -> None:
    engine, runner = start(max_queue=2)
    with pytest.raises(ContextLengthError, match="41 tokens, and the model takes 40"):
        await engine.encode([PoolingInput((1,)), PoolingInput((1,) * 41)])
    for token_id in (-1, VOCAB_SIZE):
        with pytest.raises(InvalidRequestError, match="outside of the vocabulary"):
            await engine.encode([PoolingInput((3, token_id))])
    with pytest.raises(InvalidRequestError, match="no tokens"):
        await engine.encode([PoolingInput(())])
    gate = hold(runner)
    tasks = [asyncio.create_task(engine.encode([PoolingInput((1,))] * 30)) for _ in range(7)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="7 requests"):
        await engine.encode([PoolingInput((1,))])
    tasks[3].cancel()
    await asyncio.sleep(0.01)
    last = asyncio.create_task(engine.encode([PoolingInput((1,))]))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*tasks[:3], *tasks[4:], last)


async def test_a_failing_step_fails_its_requests_only(start: Start) -> None:
    engine, runner = start()

    def fail_on_nine() -> None:
        if any(9 in chunk.item.input.token_ids for chunk in runner.steps[-1]):
            raise RuntimeError("nine")

    runner.on_step = fail_on_nine
    for num_failed in range(1, MAX_FAILED_STEPS + 1):
        with pytest.raises(EngineError):
            await engine.encode([PoolingInput((9,) * 30), PoolingInput((1,) * 30)])
        assert engine.is_healthy == (num_failed < MAX_FAILED_STEPS)
    assert engine.stats().num_failed_steps == MAX_FAILED_STEPS
    np.testing.assert_array_equal(await engine.encode([PoolingInput((1, 2))]), [row_of(PoolingInput((1, 2)))])
    assert engine.is_healthy


async def test_numbers_that_are_not_finite_are_an_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, runner = start()
    run = runner.run

    def with_nan(*arguments: Any) -> np.ndarray:
        rows = run(*arguments)
        rows[:2, 1] = np.nan
        return rows

    monkeypatch.setattr(runner, "run", with_nan)
    with pytest.raises(EngineError, match="aren't finite"):
        await engine.encode([PoolingInput((1,))] * 3)
    assert engine.is_healthy


async def test_stopping_cuts_off_what_is_left(start: Start) -> None:
    engine, runner = start(max_num_seqs=1)
    gate = hold(runner)
    task = asyncio.create_task(engine.encode([PoolingInput((1,))] * 100))
    await asyncio.sleep(0)
    wait_until(lambda: len(runner.steps) == 1)
    stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
    await asyncio.sleep(0.01)
    gate.set()
    await stopping
    with pytest.raises(UnavailableError, match="cut off"):
        await task
    with pytest.raises(UnavailableError, match="no new requests"):
        await engine.encode([PoolingInput((1,))])
    assert not engine.is_healthy and len(runner.steps) < 100


async def test_a_grace_lets_requests_end(start: Start) -> None:
    engine, runner = start(max_num_seqs=1)
    gate = hold(runner)
    task = asyncio.create_task(engine.encode([PoolingInput((1,))] * 20))
    await asyncio.sleep(0)
    wait_until(lambda: len(runner.steps) == 1)
    stopping = asyncio.create_task(asyncio.to_thread(engine.stop, 20.0))
    await asyncio.sleep(0.01)
    gate.set()
    await stopping
    assert len(await task) == 20


def test_a_closed_loop_harms_nobody(start: Start) -> None:
    engine, runner = start(max_num_seqs=1)
    gate = hold(runner)
    loop = asyncio.new_event_loop()
    task = loop.create_task(engine.encode([PoolingInput((1,))] * 3))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    gate.set()
    rows = engine.encode_blocking([PoolingInput((2,))])
    np.testing.assert_array_equal(rows, [row_of(PoolingInput((2,)))])
    assert engine.is_healthy and not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
