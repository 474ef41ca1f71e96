"""One answer on its way from the router to a client: ready deltas go together, and a vanished client ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType

from starlette.types import Receive

from inglenook.types import Delta


class ClientGoneError(Exception):
    """The client closed the connection; there is nobody left to tell."""


class Answer:
    """Reads deltas in a task of its own, so that neither a slow reader nor a silent one holds up the engine.

    Another task waits for the client to disconnect. Leaving the `async with` ends both and closes the iterator,
    which cancels the request. The request's body must have been read before.
    """

    def __init__(self, deltas: AsyncGenerator[Delta, None], receive: Receive, running: set[Answer]) -> None:
        self._deltas = deltas
        self._receive = receive
        self._running = running
        self._ready: list[Delta] = []
        self._wake = asyncio.Event()
        self._is_done = False
        self._error: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Answer:
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
        await self._deltas.aclose()  # no-op after the reading task, unless it was cancelled before it began

    async def next_batch(self) -> list[Delta]:
        """The deltas since the last call: one or more, none at the end. Raises what the iterator raised."""
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._is_done:
                return []
            self._wake.clear()
            await self._wake.wait()
        batch, self._ready = self._ready, []
        return batch

    def stop(self, error: Exception) -> None:
        """End the answer with this error, unless it has ended."""
        if not self._is_done:
            self._finish(error)
            self._tasks[0].cancel()

    async def _read(self) -> None:
        try:
            async for delta in self._deltas:
                self._ready.append(delta)
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
