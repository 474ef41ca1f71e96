"""A crowd at the real server for a minute: right answers, nothing left behind, memory that doesn't grow.

INGLENOOK_TEST_LOAD_S sets how long.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from fixtures.server_process import UNCHECKED, Server, start_server
from load.crowd import MAX_TOKENS, PROMPTS, Crowd, chat_body, embedding_body

NUM_CLIENTS = 200
NUM_LONG, NUM_LONG_AT_ONCE = 200, 40
SECONDS = float(os.environ.get("INGLENOOK_TEST_LOAD_S", "60"))
WARM_SHARE = 0.4  # of the time, after which the memory isn't to grow any more
GROWTH_BYTES = 16 * 2**20  # that it may all the same: fragments (test_leaks.py counts what requests leave behind)
LONG_GROWTH_BYTES = 24 * 2**20  # after long prompts; two threads would keep more than 50, and more threads more

pytestmark = pytest.mark.load


@pytest.fixture(scope="module")
def server(default_model: str, embedding_model: str) -> Iterator[Server]:
    """Its cache is soon filled, so that memory stays as it is; it begins with fewer files than clients come."""
    words = (default_model, "--model", embedding_model, "--kv-cache-memory-bytes", "128Mi")
    running = start_server(*words, program=UNCHECKED, num_files=128)
    yield running
    assert running.stop() == 0
    assert not [line for line in running.output if "Traceback" in line or "ERROR" in line]


class MemoryLog(threading.Thread):
    """The resident memory of a process, once a second, in bytes."""

    def __init__(self, process_id: int) -> None:
        super().__init__(daemon=True)
        self.samples: list[int] = []
        self._status = Path(f"/proc/{process_id}/status")
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(1):
            self.samples.append(self.read())

    def read(self) -> int:
        return int(re.search(r"VmRSS:\s+(\d+) kB", self._status.read_text())[1]) * 1024  # type: ignore[index]

    def stop(self) -> None:
        self._is_over.set()
        self.join()


def crowd_for(server: Server) -> Crowd:
    """With the right answers, each asked for alone."""
    texts, vectors = {}, {}
    for prompt in PROMPTS:
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=chat_body(prompt, MAX_TOKENS), timeout=60)
        texts[prompt] = answer.json()["choices"][0]["message"]["content"]
        answer = httpx.post(f"{server.url}/v1/embeddings", json=embedding_body([prompt]))
        vectors[prompt] = answer.json()["data"][0]["embedding"]
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    return Crowd(address.hostname, address.port, texts, vectors)


def memory_at_rest(server: Server, memory: MemoryLog) -> int:
    server.wait_until_idle(30)
    time.sleep(2)  # then what was freed has been returned
    return memory.read()


def num_open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.mark.timeout(SECONDS + 240)
def test_a_crowd(server: Server) -> None:
    crowd = crowd_for(server)
    num_files = num_open_files(server)
    memory = MemoryLog(server.process.pid)
    memory.start()
    started_s = time.monotonic()
    asyncio.run(crowd.run(NUM_CLIENTS, SECONDS * WARM_SHARE, seed=1))
    warm = memory_at_rest(server, memory)
    asyncio.run(crowd.run(NUM_CLIENTS, SECONDS * (1 - WARM_SHARE), seed=2))
    elapsed_s = time.monotonic() - started_s
    memory.stop()
    at_the_end = memory_at_rest(server, memory)
    print(
        f"\n{elapsed_s:.0f} s, {dict(crowd.counts)}, {crowd.num_tokens / elapsed_s:.0f} tokens/s in whole answers, "
        f"{server.metric('generation_tokens_total') / elapsed_s:.0f} in all; "
        "MiB: "
        f"{[n // 2**20 for n in memory.samples[:: max(1, len(memory.samples) // 20)]]}, at rest {warm // 2**20} after "
        f"{WARM_SHARE:.0%}, {at_the_end // 2**20} at the end"
    )
    assert not crowd.problems, "\n".join(crowd.problems[:10])
    assert crowd.counts["left"] > NUM_CLIENTS / 10
    assert server.metric("kv_cache_usage_perc") == 0, "blocks of requests that are over"
    assert 'finished_reason="error"' not in httpx.get(f"{server.url}/metrics").text
    assert at_the_end < warm + GROWTH_BYTES
    again = crowd_for(server)
    assert (again.texts, again.vectors) == (crowd.texts, crowd.vectors)
    deadline = time.monotonic() + 10
    while num_open_files(server) > num_files + 1:
        assert time.monotonic() < deadline, "connections of clients that are gone"
        time.sleep(0.1)
    assert json.loads(httpx.get(f"{server.url}/health").content) == {"status": "ok"}


@pytest.mark.timeout(240)
def test_long_prompts_leave_no_memory_behind(server: Server) -> None:
    crowd = crowd_for(server)
    memory = MemoryLog(server.process.pid)
    before = memory_at_rest(server, memory)
    memory.start()
    for _ in range(NUM_LONG // NUM_LONG_AT_ONCE):
        asyncio.run(crowd.run_longest(NUM_LONG_AT_ONCE))
    memory.stop()
    after = memory_at_rest(server, memory)
    print(f"\nMiB: {before // 2**20} before, at most {max(memory.samples) // 2**20}, {after // 2**20} after")
    assert after < before + LONG_GROWTH_BYTES
