"""Work that may take long, kept off the event loop: on a few threads that leave no memory behind."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import TypeVar

from inglenook.config import num_usable_cores

# Prompts of more characters are rendered and tokenised on another thread, and every grammar is compiled there, so that
# other streams go on meanwhile.
INLINE_CHARACTERS = 8192
_IDLE_S = 1.0  # after which freed memory is returned: fetching it again would slow down what follows at once

T = TypeVar("T")


async def inline_or_thread(is_long: bool, work: Callable[[], T]) -> T:
    return await on_thread(work) if is_long else work()


async def on_thread(work: Callable[[], T]) -> T:
    return await _threads().run(work)


@cache
def _threads() -> _Threads:
    return _Threads()


class _Threads:
    """Apart from asyncio's threads, which wait for files. More than there are cores would only hold more at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max(2, num_usable_cores()), thread_name_prefix="inglenook-prepare")
        self._tidying: asyncio.TimerHandle | None = None

    async def run(self, work: Callable[[], T]) -> T:
        future = self._pool.submit(work)
        future.add_done_callback(partial(self._done, asyncio.get_running_loop()))
        return await asyncio.wrap_future(future)

    def _done(self, loop: asyncio.AbstractEventLoop, _: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(self._tidy_later, loop)

    def _tidy_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = loop.call_later(_IDLE_S, self._pool.submit, _return_freed_memory)


def _return_freed_memory() -> None:
    """glibc has a heap for each thread and keeps what is freed in it: 20 to 30 MiB after a prompt of 40,000 tokens."""
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
