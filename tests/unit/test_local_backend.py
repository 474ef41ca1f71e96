"""Answers of several choices from one engine: ends of each, stop strings, errors, usage."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from fixtures.fake_engine import VOCAB_SIZE, FakeRunner, continuation, make_engine, make_request
from inglenook.backends.generation_config import GenerationConfig
from inglenook.backends.local import LocalBackend
from inglenook.engine.async_engine import AsyncEngine
from inglenook.errors import EngineError, InvalidRequestError
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import CompletionRequest, Delta, SamplingParams, Usage

CONTEXT = 64
PROMPTS = ((1, 2, 3), (4, 5, 6), (7, 8, 9))


@pytest.fixture
def running() -> Iterator[tuple[LocalBackend, FakeRunner]]:
    engine, runner = make_engine(context_length=CONTEXT)
    asynchronous = AsyncEngine(engine, max_queue=100)
    neutral = GenerationConfig({}, frozenset())
    tokenizer = Tokenizer.dummy(VOCAB_SIZE)
    yield (
        LocalBackend(asynchronous, tokenizer, None, names=["m"], max_model_len=CONTEXT, generation=neutral, root="m"),
        runner,
    )
    asynchronous.stop()
    stats = asynchronous.stats()
    assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)


def request(num_tokens: int = 12, num_choices: int = 1, stop: tuple[str, ...] = ()) -> CompletionRequest:
    sampling = SamplingParams(max_tokens=num_tokens, stop=stop)
    return CompletionRequest("r", "m", sampling, num_choices, prompts=PROMPTS)


def expected(index: int, num_tokens: int = 12) -> bytes:
    return bytes(continuation(make_request("x", list(PROMPTS[index]), num_tokens), CONTEXT)[0])


async def collect(backend: LocalBackend, asked: CompletionRequest) -> list[Delta]:
    return [delta async for delta in backend.complete(asked)]


def text(deltas: list[Delta], index: int) -> str:
    return "".join(delta.text for delta in deltas if delta.index == index)


async def test_choices_come_side_by_side(running: tuple[LocalBackend, FakeRunner]) -> None:
    backend, _ = running
    deltas = await collect(backend, request(num_choices=2))
    for index in range(6):
        assert text(deltas, index) == expected(index // 2).decode()
        assert [d.finish_reason for d in deltas if d.index == index][-1] == "length"
    assert [delta.usage for delta in deltas if delta.usage is not None] == [Usage(9, 72, 0)]
    assert deltas[-1].usage is not None
    first = [delta.index for delta in deltas[:12]]
    assert len(set(first)) > 1, "one choice after another"


async def test_a_stop_string_ends_its_choice_alone(running: tuple[LocalBackend, FakeRunner]) -> None:
    """Also where the engine is ahead: outputs that wait behind the one with the stop string are dropped."""
    backend, _ = running
    stop = expected(1)[4:6].decode()
    assert stop not in expected(0).decode() + expected(2).decode()
    deltas = []
    async with aclosing(backend.complete(request(40, stop=(stop,)))) as answer:
        async for delta in answer:
            if not deltas:
                await asyncio.sleep(0.2)  # the engine goes on
            deltas.append(delta)
    full = expected(1, 40).decode()
    assert text(deltas, 1) == full[: full.index(stop)]
    assert [d.stop_reason for d in deltas if d.finish_reason is not None and d.index == 1] == [stop]
    assert text(deltas, 0) == expected(0, 40).decode()
    assert text(deltas, 2) == expected(2, 40).decode()
    assert deltas[-1].usage is not None


async def test_the_first_error_ends_all(running: tuple[LocalBackend, FakeRunner]) -> None:
    backend, runner = running
    runner.broken.add("r-1")
    with pytest.raises(EngineError):
        await collect(backend, request(50))
    runner.broken.clear()
    assert text(await collect(backend, request()), 0) == expected(0).decode()  # the ids are free again


async def test_leaving_early_cancels_every_choice(running: tuple[LocalBackend, FakeRunner]) -> None:
    backend, runner = running
    gate = threading.Event()
    runner.on_step = lambda: len(runner.steps) >= 3 and gate.wait(20) and None
    async with aclosing(backend.complete(request(50))) as answer:
        await anext(answer)
    gate.set()
    await backend.close()
    assert len(runner.steps) <= 4


async def test_errors_come_before_the_engine(running: tuple[LocalBackend, FakeRunner]) -> None:
    backend, runner = running
    with pytest.raises(InvalidRequestError, match="n is 0"):
        await collect(backend, request(num_choices=0))
    assert runner.steps == []
