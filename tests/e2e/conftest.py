"""Real processes and the real default model."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import openai
import pytest


@dataclass
class Server:
    """An `inglenook serve` process that has printed its address."""

    process: subprocess.Popen[str]
    url: str
    output: list[str] = field(default_factory=list)

    def client(self, api_key: str = "none", **options: object) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key, max_retries=0, **options)  # type: ignore[arg-type]

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics").text
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"inglenook:{name}")]
        assert values, f"{name} isn't in /metrics"
        return sum(values)

    def wait_until_idle(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while self.metric("num_requests_running") + self.metric("num_requests_waiting") > 0:
            assert time.monotonic() < deadline, "requests are still running"
            time.sleep(0.05)

    def stop(self, seconds: float = 20) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def start_server(*arguments: str, seconds: float = 120) -> Server:
    process = subprocess.Popen(
        [sys.executable, "-m", "inglenook.server", "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    found = threading.Event()
    assert process.stdout is not None

    def read() -> None:
        for line in process.stdout:  # type: ignore[union-attr]
            lines.append(line)
            if "curl" in line:
                found.set()
        found.set()

    threading.Thread(target=read, daemon=True).start()
    is_up = found.wait(seconds) and process.poll() is None
    address = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))
    if not is_up or address is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise AssertionError("the server did not start:\n" + "".join(lines))
    return Server(process, address.group(), lines)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers with these arguments; they are stopped at the end of the test."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(start_server(*arguments))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="session")
def server(default_model: str) -> Iterator[Server]:
    """One server with the default model for all tests that don't end it."""
    running = start_server(default_model)
    yield running
    assert running.stop() == 0
