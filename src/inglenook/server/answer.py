"""One answer on its way from the router to a client: ready pieces go together, and a vanished client ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Generic, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed the connection; there is nobody left to tell."""


class Answer(Generic[T]):
    """Reads pieces in a task of its own, so that neither a slow reader nor a silent one holds up the engine.

    Another task waits for the client to disconnect. Leaving the `async with` ends both and closes the iterator,
    which cancels the request. The request's body must have been read before.
    """

    def __init__(self, pieces: AsyncGenerator[T, None], receive: Receive, running: set[Answer[Any]]) -> None:
        self._pieces = pieces
        self._receive = receive
        self._running = running
        self._ready: list[T] = []
        self._wake = asyncio.Event()
        self._is_done = False
        self._error: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Answer[T]:
        self._running.add(self)
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.discard(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pieces.aclose()  # no-op after the reading task, unless it was cancelled before it began

    async def next_batch(self) -> list[T]:
        """The pieces since the last call: one or more, none at the end. Raises what the iterator raised."""
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._is_done:
                return []
            self._wake.clear()
            await self._wake.wait()
        batch, self._ready = self._ready, []
        return batch

    async def is_ready_within(self, seconds: float) -> bool:
        """Whether `next_batch` doesn't wait any more: because of deltas, the end, or an error."""
        if not self._ready and not self._is_done:
            self._wake.clear()
            timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
        return bool(self._ready) or self._is_done

    def stop(self, error: Exception) -> None:
        """End the answer with this error, unless it has ended."""
        if not self._is_done:
            self._finish(error)
            self._tasks[0].cancel()

    async def _read(self) -> None:
        try:
            async for piece in self._pieces:
                self._ready.append(piece)
                self._wake.set()
        except Exception as error:
            self._finish(error)
        else:
            self._finish(None)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.stop(ClientGoneError())

    def _finish(self, error: Exception | None) -> None:
        if not self._is_done:
            self._is_done = True
            self._error = error
        self._wake.set()
