"""Runs a function on a thread whose stack holds deep recursion: llguidance descends through rules and references."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

STACK_BYTES = 512 << 20  # of addresses; memory only as far as it is used

Result = TypeVar("Result")

_lock = threading.Lock()  # the size is the process's, until it is set back


def on_large_stack(function: Callable[[], Result]) -> Result:
    """Blocks until the function has returned; what it raises is raised here."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, name="inglenook-grammar", daemon=True)
    with _lock:
        usual = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)
    return future.result()
