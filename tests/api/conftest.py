"""The app over a scripted back end: in process, or behind a real socket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from inglenook.backends.base import BackendStats
from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import (
    ChatRequest,
    CompletionRequest,
    Delta,
    GenerateRequest,
    ModelCard,
    PromptToken,
    RenderedPrompt,
    Usage,
)

HELLO = (
    Delta(0, "Hello", (1,)),
    Delta(0, " there", (2,)),
    Delta(0, "", (3,), finish_reason="stop", usage=Usage(7, 3, 4)),
)


@dataclass
class ScriptedBackend:
    """Answers every request with the script: deltas, pauses in seconds, exceptions."""

    script: tuple[Delta | Exception | float, ...] = HELLO
    cards: tuple[ModelCard, ...] = (
        ModelCard("tiny", 1700000000, 512, "tiny"),
        ModelCard("org/model", 1700000000, 512, "tiny"),
    )
    healthy: bool = True
    requests: list[GenerateRequest] = field(default_factory=list)
    num_open: int = 0
    num_cancelled: int = 0
    is_closed: bool = False

    def models(self) -> list[ModelCard]:
        return list(self.cards)

    def chat(self, request: ChatRequest) -> AsyncIterator[Delta]:
        return self._answer(request)

    def complete(self, request: CompletionRequest) -> AsyncIterator[Delta]:
        return self._answer(request)

    async def _answer(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        self.num_open += 1
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Delta):
                    yield step
                else:
                    await asyncio.sleep(step)
        except (asyncio.CancelledError, GeneratorExit):
            self.num_cancelled += 1
            raise
        finally:
            self.num_open -= 1

    async def render(self, request: GenerateRequest, *, with_tokens: bool = False) -> list[RenderedPrompt]:
        """A token for each character; names in capitals."""
        self.requests.append(request)
        texts = list(request.prompts) if isinstance(request, CompletionRequest) else ["chat"]
        return [
            RenderedPrompt(
                text,
                tuple(map(ord, text)),
                ("Changed a thing.",) if text == "chat" else (),
                tuple(PromptToken(ord(c), c.upper(), c.encode(), i, i + 1) for i, c in enumerate(text))
                if with_tokens
                else (),
            )
            for text in texts
        ]

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return "".join(map(chr, token_ids))

    def stats(self) -> BackendStats:
        return BackendStats(
            {"num_requests_running": self.num_open, "kv_cache_usage_perc": 0.25},
            {"prefix_cache_queries": 10, "prefix_cache_hits": 4, "prompt_tokens_total": 99},
        )

    def is_healthy(self) -> bool:
        return self.healthy

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def app(backend: ScriptedBackend) -> Starlette:
    return create_app(Router([backend]), ServerSettings(max_body_mib=1), version="1.2.3")


@pytest.fixture
async def http(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture
def listen() -> Iterator[Callable[[Starlette], str]]:
    """Serve an app on a free port of this machine, in a thread; gives its URL."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: Starlette) -> str:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        wait_until(lambda: server.started)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


@pytest.fixture
def url(app: Starlette, listen: Callable[[Starlette], str]) -> str:
    return listen(app)


@pytest.fixture
def soon() -> Callable[[Callable[[], Any]], None]:
    """Wait until a condition holds; fails after ten seconds."""
    return wait_until


def wait_until(condition: Callable[[], Any], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true"
        time.sleep(0.01)
