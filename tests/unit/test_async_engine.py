"""The engine on its thread: streams, cancellations, limits, failures, stopping; from event loops and plain threads."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest

from fixtures.fake_engine import FakeRunner, continuation, make_engine, make_request, tokens_of
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.request import EngineOutput, EngineRequest
from inglenook.errors import ContextLengthError, EngineError, InvalidRequestError, OverloadedError, UnavailableError

Start = Callable[..., tuple[AsyncEngine, FakeRunner]]
CONTEXT = 64


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[AsyncEngine] = []

    def start(*, max_queue: int = 1000, **options: Any) -> tuple[AsyncEngine, FakeRunner]:
        engine, runner = make_engine(context_length=CONTEXT, **options)
        started.append(AsyncEngine(engine, max_queue=max_queue))
        return started[-1], runner

    yield start
    for engine in started:
        engine.stop()
        stats = engine.stats()
        assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)


async def collect(engine: AsyncEngine, request: EngineRequest) -> list[EngineOutput]:
    return [output async for output in engine.generate(request)]


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it didn't come"
        time.sleep(0.002)


def is_idle(engine: AsyncEngine) -> bool:
    stats = engine.stats()
    return (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)


def hold_from(runner: FakeRunner, num_steps: int) -> threading.Event:
    """Hold the engine in each step from this one on, until the event is set."""
    gate = threading.Event()
    runner.on_step = lambda: len(runner.steps) >= num_steps and gate.wait(20) and None
    return gate


def requests_of(count: int, prefix: str = "r") -> list[EngineRequest]:
    return [make_request(f"{prefix}{i}", [i % 50, 3, 5], 2 + i % 17) for i in range(count)]


async def test_many_streams_each_get_their_tokens(start: Start) -> None:
    engine, _ = start()
    requests = requests_of(60)
    results = await asyncio.gather(*(collect(engine, request) for request in requests))
    for request, outputs in zip(requests, results, strict=True):
        assert tokens_of(outputs) == continuation(request, CONTEXT)[0]
        assert [o.finish_reason is not None for o in outputs] == [False] * (len(outputs) - 1) + [True]
    assert engine.is_healthy


async def test_outputs_of_a_step_cross_to_a_loop_in_one_call(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, runner = start()
    loop = asyncio.get_running_loop()
    calls = []
    call_soon_threadsafe = loop.call_soon_threadsafe

    def counted(callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        calls.append(callback)
        return call_soon_threadsafe(callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    await asyncio.gather(*(collect(engine, make_request(str(i), [i, 1], 20)) for i in range(8)))
    assert len(calls) <= len(runner.steps)


async def test_closing_the_iterator_cancels(start: Start) -> None:
    engine, runner = start()
    gate = hold_from(runner, 3)
    async with aclosing(engine.generate(make_request("r", [1, 2], 50))) as outputs:
        async for _ in outputs:
            break
    gate.set()
    await asyncio.to_thread(wait_until, lambda: is_idle(engine))
    assert len(runner.steps) <= 3
    assert len(await collect(engine, make_request("r", [1, 2], 3))) == 3  # the id is free again


async def test_cancelling_the_task_cancels(start: Start) -> None:
    engine, runner = start()
    gate = hold_from(runner, 1)
    tasks = [asyncio.create_task(collect(engine, request)) for request in requests_of(30)]
    await asyncio.sleep(0.01)
    for task in tasks[5:]:
        task.cancel()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[5:])
    for request, outputs in zip(requests_of(5), results[:5], strict=True):
        assert isinstance(outputs, list) and tokens_of(outputs) == continuation(request, CONTEXT)[0]
    await asyncio.to_thread(wait_until, lambda: is_idle(engine))


async def test_a_reused_id_never_gets_tokens_of_its_cancelled_namesake(start: Start) -> None:
    engine, runner = start()
    in_step, gate = threading.Event(), threading.Event()

    def on_step() -> None:
        in_step.set()
        gate.wait(20)

    runner.on_step = on_step
    stream = engine.generate(make_request("same", [1, 2, 3], 30))
    first = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(in_step.wait)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    request = make_request("same", [9, 8, 7], 10)
    task = asyncio.create_task(collect(engine, request))
    await asyncio.sleep(0.01)
    gate.set()
    assert tokens_of(await task) == continuation(request, CONTEXT)[0]


async def test_full_queue_is_refused_at_the_door(start: Start) -> None:
    engine, runner = start(max_queue=2, max_num_seqs=1)
    gate = hold_from(runner, 1)
    tasks = [asyncio.create_task(collect(engine, request)) for request in requests_of(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError) as caught:
        await collect(engine, make_request("late", [1], 1))
    assert caught.value.status == 429
    gate.set()
    await asyncio.gather(*tasks)
    assert len(await collect(engine, make_request("late", [1], 1))) == 1


async def test_requests_that_cannot_be_served_raise_before_any_output(start: Start) -> None:
    engine, runner = start()
    with pytest.raises(ContextLengthError):
        await collect(engine, make_request("r", [1] * 65))
    with pytest.raises(EngineError):  # the runner refuses it with an error that isn't ours
        await collect(engine, make_request("r", [1], temperature=3.0))
    gate = hold_from(runner, 1)
    task = asyncio.create_task(collect(engine, make_request("r", [1], 3)))
    await asyncio.sleep(0)
    with pytest.raises(InvalidRequestError, match="unique"):
        await collect(engine, make_request("r", [1], 3))
    gate.set()
    assert len(await task) == 3


async def test_failed_step_raises_for_its_requests_only(start: Start) -> None:
    engine, runner = start()

    def fail_once() -> None:
        runner.on_step = lambda: None
        raise RuntimeError("kernel fault")

    runner.on_step = fail_once
    with pytest.raises(EngineError):
        await collect(engine, make_request("bad", [1], 3))
    assert engine.is_healthy
    runner.broken = {"nan"}
    results = await asyncio.gather(
        *(collect(engine, make_request(name, [4], 3)) for name in ("nan", "good")), return_exceptions=True
    )
    assert isinstance(results[0], EngineError) and len(results[1]) == 3  # type: ignore[arg-type]


async def test_a_fault_of_the_engine_itself_ends_everything_clearly(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, runner = start()

    def broken(*_: object) -> None:
        raise AssertionError("our bug")

    monkeypatch.setattr("inglenook.engine.scheduler.Scheduler.update", broken)
    results = await asyncio.gather(*(collect(engine, r) for r in requests_of(3)), return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)
    assert not engine.is_healthy
    with pytest.raises(UnavailableError):
        await collect(engine, make_request("late", [1], 1))
    await asyncio.to_thread(wait_until, lambda: runner.is_closed)


async def test_stop_lets_running_requests_end_within_the_grace_time(start: Start) -> None:
    engine, runner = start()
    requests = requests_of(20)
    tasks = [asyncio.create_task(collect(engine, request)) for request in requests]
    await asyncio.sleep(0)
    stopped = asyncio.create_task(asyncio.to_thread(engine.stop, 20.0))
    results = await asyncio.gather(*tasks)
    await stopped
    for request, outputs in zip(requests, results, strict=True):
        assert tokens_of(outputs) == continuation(request, CONTEXT)[0]
    assert runner.is_closed and not engine.is_healthy
    with pytest.raises(UnavailableError):
        await collect(engine, make_request("late", [1], 1))


async def test_stop_cuts_off_what_takes_longer(start: Start) -> None:
    engine, runner = start()
    runner.on_step = lambda: time.sleep(0.05)
    tasks = [asyncio.create_task(collect(engine, make_request(str(i), [i], 60))) for i in range(4)]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(engine.stop, 0.1)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)
    engine.stop()  # once more does nothing
    assert runner.is_closed


def test_blocking_callers_need_no_loop_and_no_limit(start: Start) -> None:
    engine, _ = start(max_queue=3, max_num_seqs=4)
    requests = requests_of(100)
    outputs: dict[str, list[EngineOutput]] = {}
    for output in engine.generate_blocking(requests):
        outputs.setdefault(output.request_id, []).append(output)
    for request in requests:
        assert tokens_of(outputs[request.request_id]) == continuation(request, CONTEXT)[0]
    assert list(engine.generate_blocking([])) == []


def test_leaving_the_blocking_loop_cancels_the_rest(start: Start) -> None:
    engine, runner = start()
    gate = hold_from(runner, 3)
    for _ in engine.generate_blocking(make_request(str(i), [i], 60) for i in range(20)):
        break
    gate.set()
    wait_until(lambda: is_idle(engine))
    assert len(runner.steps) <= 3


def test_blocking_failures_end_their_own_request(start: Start) -> None:
    engine, runner = start()
    runner.broken = {"r1"}
    errors = {o.request_id: o.error for o in engine.generate_blocking(requests_of(3)) if o.finish_reason or o.error}
    assert [type(errors[f"r{i}"]) for i in range(3)] == [type(None), EngineError, type(None)]


def test_several_loops_and_threads_at_once(start: Start) -> None:
    engine, _ = start()

    def in_a_loop(name: str) -> None:
        async def main() -> None:
            requests = requests_of(20, name)
            results = await asyncio.gather(*(collect(engine, r) for r in requests))
            assert [tokens_of(o) for o in results] == [continuation(r, CONTEXT)[0] for r in requests]

        asyncio.run(main())

    def in_a_thread(name: str) -> None:
        requests = requests_of(20, name)
        num_tokens = sum(len(o.tokens) for o in engine.generate_blocking(requests))
        assert num_tokens == sum(r.sampling.max_tokens or 0 for r in requests)

    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(in_a_loop if i % 2 else in_a_thread, f"{i}-") for i in range(6)]
        for future in futures:
            future.result(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_gone_loses_its_requests(start: Start) -> None:
    engine, runner = start()
    gate = hold_from(runner, 1)
    loop = asyncio.new_event_loop()
    task = loop.create_task(collect(engine, make_request("r", [1], 60)))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    gate.set()
    wait_until(lambda: is_idle(engine))
    assert len(runner.steps) < 60
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    gc.collect()


async def test_hundreds_of_disconnects_leave_nothing_behind(start: Start) -> None:
    engine, _ = start(num_blocks=20, max_num_seqs=5)

    async def client(index: int) -> None:
        request = make_request(f"c{index}", [index % 5, 1, 2, 3, 4, index % 50], 40)
        expected = continuation(request, CONTEXT)[0]
        got: list[int] = []
        async with aclosing(engine.generate(request)) as outputs:
            async for output in outputs:
                got += tokens_of([output])
                if len(got) > index % 40:
                    break
        assert got == expected[: len(got)] and got

    await asyncio.gather(*(client(i) for i in range(300)))
    await asyncio.to_thread(wait_until, lambda: is_idle(engine))
    request = make_request("last", [1, 2, 3], 5)
    assert tokens_of(await collect(engine, request)) == continuation(request, CONTEXT)[0]
