"""Real processes and the real default model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fixtures.server_process import Server, start_server


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
        server.check_shapes()


@pytest.fixture(scope="session")
def server(default_model: str) -> Iterator[Server]:
    """One server with the default model for all tests that don't end it. What requests leave open is drawn in the same
    way each time.
    """
    running = start_server(default_model, "--seed", "1")
    yield running
    assert running.stop() == 0
