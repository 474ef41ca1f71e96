"""The thread pool, seen through the executor: many threads, many short runs, signals, forks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import psutil

from fixtures.single_ops import always
from fixtures.steps import PagedSequences
from fixtures.two_layers import random_weights, two_layer_program
from inglenook.ops.executor import CacheSpec, StepInput
from inglenook.ops.native import NativeExecutor
from inglenook.ops.sampling import ThreadPool

CACHE = CacheSpec(num_blocks=40, block_size=16, dtype="f32")
PROGRAM = two_layer_program()
WEIGHTS = random_weights(PROGRAM)


def open_executor(threads: int, pool: ThreadPool | None = None) -> NativeExecutor:
    return NativeExecutor(
        PROGRAM,
        WEIGHTS,
        cache=CACHE,
        max_num_tokens=128,
        max_num_selected=128,
        threads=threads,
        weight_format=always("f32"),
        pool=pool,
    )


def step(num_tokens: int) -> StepInput:
    return PagedSequences(CACHE, 1, num_tokens).step([(0, range(num_tokens % 90))]) if num_tokens else step(1)


def test_thousands_of_short_runs_on_many_threads() -> None:
    """Far more threads than cores: none is waited for that has nothing to do, and no run is cut short."""
    alone, crowd = open_executor(1), open_executor(16)
    expected = {count: alone.run(step(count)).copy() for count in (1, 2, 5, 17, 64)}
    rng = np.random.default_rng(0)
    for count in rng.choice(list(expected), 3000):
        np.testing.assert_array_equal(crowd.run(step(int(count))), expected[int(count)])
    crowd.close()


def test_executors_that_share_their_threads_take_turns() -> None:
    expected = {count: open_executor(1).run(step(count)).copy() for count in (1, 5, 64)}
    first = open_executor(4)
    num_threads = psutil.Process().num_threads()
    second = open_executor(4, first.pool)
    for count in (1, 5, 64) * 50:
        for executor in (first, second):
            np.testing.assert_array_equal(executor.run(step(count)), expected[count])
    assert psutil.Process().num_threads() == num_threads + 3
    first.close()
    np.testing.assert_array_equal(second.run(step(5)), expected[5])  # the threads start again
    del first
    gc.collect()
    np.testing.assert_array_equal(second.run(step(64)), expected[64])
    second.close()
    assert psutil.Process().num_threads() == num_threads


def test_executors_run_side_by_side() -> None:
    expected = open_executor(1).run(step(40)).copy()
    wrong: list[int] = []

    def work() -> None:
        executor = open_executor(3)
        equal = [np.array_equal(executor.run(step(40)), expected) for _ in range(200)]
        wrong.append(equal.count(False))
        executor.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0] * 4


def has_threads(count: int) -> bool:
    """Whether this process comes to have so many: an ended thread stays listed for a moment."""
    for _ in range(1000):
        if psutil.Process().num_threads() == count:
            return True
        time.sleep(0.005)
    return False


def test_threads_start_with_the_first_run_and_end_with_close() -> None:
    gc.collect()  # executors of other tests
    executor = open_executor(5)
    time.sleep(0.05)
    before = psutil.Process().num_threads()
    executor.run(step(5))
    assert has_threads(before + 4)
    executor.close()
    assert has_threads(before)


def test_signals_reach_the_main_thread_only() -> None:
    executor = open_executor(4)
    executor.run(step(5))
    seen: list[str] = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread().name))
    try:
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            executor.run(step(5))
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert seen and set(seen) == {"MainThread"}


def run_in_child(executor: NativeExecutor, results: Any) -> None:
    results.put(executor.run(step(20)).sum())
    executor.close()


def test_a_forked_child_has_no_threads_and_works_all_the_same() -> None:
    executor = open_executor(4)
    expected = executor.run(step(20)).sum()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=run_in_child, args=(executor, results))
    child.start()
    assert results.get(timeout=30) == expected
    child.join(timeout=30)
    assert child.exitcode == 0
    assert executor.run(step(20)).sum() == expected
