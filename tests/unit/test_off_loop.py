"""Long work: on threads of its own, no more than there are cores, and what it freed is given back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from inglenook.backends import off_loop
from inglenook.backends.off_loop import inline_or_thread, on_thread
from inglenook.config import num_usable_cores


@pytest.fixture
def tidied(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The threads on which freed memory was returned."""
    off_loop._threads.cache_clear()
    calls: list[str] = []
    monkeypatch.setattr(off_loop, "_IDLE_S", 0.05)
    monkeypatch.setattr(off_loop, "_return_freed_memory", lambda: calls.append(threading.current_thread().name))
    yield calls
    off_loop._threads.cache_clear()


async def test_short_work_stays_where_it_is() -> None:
    assert await inline_or_thread(False, threading.current_thread) is threading.current_thread()
    assert await inline_or_thread(True, threading.current_thread) is not threading.current_thread()


async def test_what_work_raises_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await on_thread(lambda: 1 / 0)


async def test_no_more_threads_than_cores(tidied: list[str]) -> None:
    names = await asyncio.gather(*(on_thread(_named_after_a_while) for _ in range(4 * num_usable_cores() + 8)))
    assert len(set(names)) == max(2, num_usable_cores())


async def test_memory_is_returned_after_the_last(tidied: list[str]) -> None:
    await asyncio.gather(*(on_thread(_named_after_a_while) for _ in range(8)))
    tidied.clear()  # a busy machine may have found time for it before
    await _until(lambda: len(tidied) == 1)
    assert tidied[0].startswith("inglenook-prepare")
    await asyncio.sleep(0.1)
    assert len(tidied) == 1


async def test_memory_is_returned_where_nobody_waits_any_more(tidied: list[str]) -> None:
    may_end = threading.Event()
    task = asyncio.create_task(on_thread(may_end.wait))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.sleep(0.1)
    assert not tidied
    may_end.set()
    await _until(lambda: len(tidied) == 1)


def test_a_loop_that_is_gone_is_no_error(tidied: list[str], caplog: pytest.LogCaptureFixture) -> None:
    may_end = threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(on_thread(may_end.wait))
        await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(leave())
    may_end.set()
    assert asyncio.run(on_thread(lambda: 7)) == 7
    assert not caplog.records


def _named_after_a_while() -> str:
    time.sleep(0.01)
    return threading.current_thread().name


async def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
