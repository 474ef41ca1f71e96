"""The seam between the engine and everything else: requests go in from any thread or event loop, outputs come back.

One thread of its own runs the steps. The outputs of a step reach each event loop in one call.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from inglenook.engine.engine import Engine, EngineStats
from inglenook.engine.request import EngineOutput, EngineRequest
from inglenook.errors import EngineError, InglenookError, InvalidRequestError, OverloadedError, UnavailableError

logger = logging.getLogger(__name__)


class _Queue(Protocol):
    def put_nowait(self, item: EngineOutput, /) -> None: ...


@dataclass(eq=False, slots=True)
class _Stream:
    """Where the outputs of a request go: a queue of asyncio's and its loop, or a thread's queue and no loop."""

    queue: _Queue
    loop: asyncio.AbstractEventLoop | None = None


class AsyncEngine:
    """Runs an engine on a thread of its own. Every method may be called from any thread.

    At most `max_num_seqs + max_queue` requests are in it at a time; further ones raise OverloadedError.
    """

    def __init__(self, engine: Engine, *, max_queue: int) -> None:
        self._engine = engine
        self._max_unfinished = engine.scheduler.max_num_seqs + max_queue
        self._wake = threading.Condition()  # guards what follows
        self._inbox: list[EngineRequest | str] = []  # requests to add, ids to cancel
        self._cancelled: set[str] = set()  # ids to cancel in the inbox: what a running step gives for them is dropped
        self._streams: dict[str, _Stream] = {}  # of every request that hasn't ended
        self._stop_at: float | None = None  # time.monotonic(); set once stopping
        self._is_dead = False
        self._thread = threading.Thread(target=self._run, name="inglenook-engine", daemon=True)
        self._thread.start()
        atexit.register(self.stop)  # a daemon thread in native code must not outlive the interpreter

    # --- asking -------------------------------------------------------------------------------------

    async def generate(self, *requests: EngineRequest) -> AsyncGenerator[EngineOutput, None]:
        """The outputs of these requests as they come, up to the last one with a finish reason.

        Closing the iterator, or cancelling the task that awaits it, cancels what is left of them; so does an error of
        one. Raises before the first output: InvalidRequestError, OverloadedError, UnavailableError; at any time:
        EngineError, and UnavailableError where the engine stops.
        """
        outputs: asyncio.Queue[EngineOutput] = asyncio.Queue()
        stream = _Stream(outputs, asyncio.get_running_loop())
        unfinished: set[str] = set()
        try:
            for request in requests:
                self._submit(request, stream)
                unfinished.add(request.request_id)
            while unfinished:
                output = await outputs.get()
                if _is_last(output):
                    unfinished.discard(output.request_id)
                if output.error is not None:
                    raise output.error
                yield output
        finally:
            for request_id in unfinished:
                self.cancel(request_id)

    def generate_blocking(self, requests: Iterable[EngineRequest]) -> Generator[EngineOutput, None, None]:
        """The outputs of many requests as they come, without an event loop. There may be any number of requests.

        An output with `error` ends its own request only. Leaving the loop early cancels the rest. Raises what
        `generate` raises before its first output.
        """
        outputs: queue.SimpleQueue[EngineOutput] = queue.SimpleQueue()
        stream = _Stream(outputs)
        source = iter(requests)
        request = next(source, None)
        unfinished: set[str] = set()
        try:
            while request is not None or unfinished:
                while request is not None:
                    try:
                        self._submit(request, stream)
                    except OverloadedError:
                        if not unfinished:
                            raise
                        break  # until one of ours has ended
                    unfinished.add(request.request_id)
                    request = next(source, None)
                output = outputs.get()
                if _is_last(output):
                    unfinished.discard(output.request_id)
                yield output
        finally:
            for request_id in unfinished:
                self.cancel(request_id)

    def cancel(self, request_id: str) -> None:
        """Free what a request holds before the next step; no further output of it comes."""
        with self._wake:
            if self._streams.pop(request_id, None) is not None:
                self._inbox.append(request_id)
                self._cancelled.add(request_id)
                self._wake.notify()

    # --- state --------------------------------------------------------------------------------------

    @property
    def is_healthy(self) -> bool:
        """False once stopped, and while steps fail again and again."""
        return self._stop_at is None and not self._is_dead and self._engine.is_healthy

    def stats(self) -> EngineStats:
        """A snapshot. Requests that the engine's thread hasn't taken in yet are waiting, too."""
        stats = self._engine.stats()
        with self._wake:
            num_new = sum(isinstance(command, EngineRequest) for command in self._inbox)
        return replace(stats, num_waiting=stats.num_waiting + num_new)

    def stop(self, grace_s: float = 0.0) -> None:
        """Take no further requests, let those that run go on for `grace_s` seconds, end the others, free the model.

        Blocks until done; a second call waits for the first. Requests that are cut off get UnavailableError.
        """
        with self._wake:
            stop_at = time.monotonic() + grace_s
            self._stop_at = stop_at if self._stop_at is None else min(self._stop_at, stop_at)
            self._wake.notify()
        self._thread.join()
        atexit.unregister(self.stop)

    # --- inside -------------------------------------------------------------------------------------

    def _submit(self, request: EngineRequest, stream: _Stream) -> None:
        self._engine.check(request)
        with self._wake:
            if self._stop_at is not None or self._is_dead:
                raise UnavailableError("The engine is stopping or has failed; it takes no new requests.")
            if len(self._streams) >= self._max_unfinished:
                raise OverloadedError(f"{len(self._streams)} requests are waiting or running already. Try again later.")
            if request.request_id in self._streams:
                raise InvalidRequestError("A request with this id is running already; ids must be unique.")
            self._streams[request.request_id] = stream
            self._inbox.append(request)
            self._wake.notify()

    def _run(self) -> None:
        """The engine's thread."""
        try:
            while self._take_inbox():
                self._deliver(self._engine.step())
            message = "The server is stopping; the request was cut off."
        except BaseException:
            logger.exception("The engine's thread failed.")
            message = "The engine has failed; the server's log says more."
        with self._wake:
            self._is_dead = True
            self._inbox.clear()
            request_ids = list(self._streams)
        self._deliver([EngineOutput(i, error=UnavailableError(message)) for i in request_ids])
        self._engine.close()

    def _take_inbox(self) -> bool:
        """Wait for work and take in what is new; False when it is time to end."""
        with self._wake:
            while not (self._inbox or self._engine.has_work() or self._stop_at is not None):
                self._wake.wait()
            commands, self._inbox = self._inbox, []
            self._cancelled.clear()
        failures = []
        for command in commands:
            if isinstance(command, str):
                self._engine.cancel(command)
            elif (error := self._add(command)) is not None:
                failures.append(EngineOutput(command.request_id, error=error))
        self._deliver(failures)
        is_late = self._stop_at is not None and time.monotonic() >= self._stop_at
        return not is_late and (self._engine.has_work() or self._stop_at is None)

    def _add(self, request: EngineRequest) -> InglenookError | None:
        try:
            self._engine.add(request)
        except InglenookError as error:
            return error
        except Exception:
            logger.exception("Request %s could not be added.", request.request_id)
            return EngineError("The engine failed on this request; the server's log says more.")
        return None

    def _deliver(self, outputs: list[EngineOutput]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[_Queue, EngineOutput]]] = {}
        with self._wake:
            for output in outputs:
                stream = self._streams.get(output.request_id)
                if stream is None or output.request_id in self._cancelled:
                    continue
                by_loop.setdefault(stream.loop, []).append((stream.queue, output))
                if _is_last(output):
                    del self._streams[output.request_id]
        for loop, ready in by_loop.items():
            if loop is None:
                _put(ready)
                continue
            try:
                loop.call_soon_threadsafe(_put, ready)
            except RuntimeError:  # the loop is closed: nobody waits any more
                for _, output in ready:
                    self.cancel(output.request_id)


def _put(ready: list[tuple[_Queue, EngineOutput]]) -> None:
    for outputs, output in ready:
        outputs.put_nowait(output)


def _is_last(output: EngineOutput) -> bool:
    return output.finish_reason is not None or output.error is not None
