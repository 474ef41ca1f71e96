"""Answers on their way out: batches, errors, and the tasks that must not stay behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from inglenook.server.answer import Answer, ClientGoneError
from inglenook.server.sse import frame
from inglenook.types import Delta


class Client:
    """The receiving side: stays until `leave` is called."""

    def __init__(self) -> None:
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}


class Source:
    """Deltas that the test hands over; knows how it was ended."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()
        self.is_closed = False

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.is_closed = True


def test_frame() -> None:
    assert frame([b"{}", b"[DONE]"]) == b"data: {}\n\ndata: [DONE]\n\n"


async def test_ready_deltas_come_as_one_batch() -> None:
    source, running = Source(), set[Answer]()
    deltas = [Delta(0, str(i)) for i in range(5)]
    for delta in deltas[:3]:
        source.queue.put_nowait(delta)
    async with Answer(source.deltas(), Client().receive, running) as answer:
        assert running == {answer}
        assert await answer.next_batch() == deltas[:3]
        waiting = asyncio.create_task(answer.next_batch())
        await asyncio.sleep(0)
        for item in (*deltas[3:], None):
            source.queue.put_nowait(item)
        assert await waiting == deltas[3:]
        assert await answer.next_batch() == []
        assert await answer.next_batch() == []
    assert running == set()
    assert len(asyncio.all_tasks()) == 1


async def test_what_was_ready_comes_before_the_error() -> None:
    source = Source()
    source.queue.put_nowait(Delta(0, "a"))
    source.queue.put_nowait(ValueError("broken"))
    async with Answer(source.deltas(), Client().receive, set()) as answer:
        assert await answer.next_batch() == [Delta(0, "a")]
        with pytest.raises(ValueError, match="broken"):
            await answer.next_batch()


async def test_a_client_that_leaves_closes_the_source() -> None:
    source, client = Source(), Client()
    async with Answer(source.deltas(), client.receive, set()) as answer:
        waiting = asyncio.create_task(answer.next_batch())
        await asyncio.sleep(0)
        client.leave()
        with pytest.raises(ClientGoneError):
            await waiting
    assert source.is_closed
    assert len(asyncio.all_tasks()) == 1


async def test_stop_tells_the_reader_why() -> None:
    source = Source()
    async with Answer(source.deltas(), Client().receive, set()) as answer:
        await asyncio.sleep(0)
        answer.stop(ValueError("over"))
        answer.stop(ValueError("the first reason stays"))
        await asyncio.sleep(0.01)
        assert source.is_closed  # at once: the writer may be held up by a client that doesn't read
        with pytest.raises(ValueError, match="over"):
            await answer.next_batch()


@pytest.mark.parametrize("num_turns", [0, 1, 3])
async def test_leaving_early_closes_the_source(num_turns: int) -> None:
    """Whether the reading task has begun or not."""
    source = Source()
    deltas = source.deltas()
    async with Answer(deltas, Client().receive, set()):
        for _ in range(num_turns):
            await asyncio.sleep(0)
    assert source.is_closed or num_turns == 0
    with pytest.raises(StopAsyncIteration):
        await anext(deltas)


async def test_cancelling_the_writer_closes_the_source() -> None:
    source = Source()

    async def write() -> None:
        async with Answer(source.deltas(), Client().receive, set()) as answer:
            await answer.next_batch()

    writer = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert source.is_closed
    assert len(asyncio.all_tasks()) == 1
