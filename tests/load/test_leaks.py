"""What a request leaves behind: nothing. Objects and bytes of the server's process are counted between rounds."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from fixtures.server_process import TESTS, Server, start_server

NUM_EACH = 30  # requests of each kind in a round
NUM_AT_ONCE = 8
WARM_ROUNDS = 2
MAX_OBJECTS = NUM_EACH // 2  # of one type that a round may add
MAX_BYTES = NUM_EACH * 2048
PROGRAM = (str(TESTS / "fixtures" / "counted_server.py"),)

pytestmark = pytest.mark.load

MESSAGES = [{"role": "user", "content": "Tell me about the sea."}]
CHAT: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 4, "temperature": 0}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@dataclass(frozen=True)
class Kind:
    path: str
    body: dict[str, Any] | None = None  # None: GET
    status: int = 200
    is_left: bool = False  # after the first piece of the answer


KINDS = {
    "stream": Kind("/v1/chat/completions", {**CHAT, "stream": True}),
    "left": Kind("/v1/chat/completions", {**CHAT, "max_tokens": 64, "stream": True}, is_left=True),
    "whole": Kind("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 2}),
    "choices": Kind("/v1/chat/completions", {**CHAT, "n": 2, "temperature": 1}),
    "tools": Kind("/v1/chat/completions", {**CHAT, "tools": [TOOL]}),
    "held": Kind("/v1/chat/completions", {**CHAT, "response_format": {"type": "json_object"}}),
    "text": Kind("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 2, "echo": True, "logprobs": 1}),
    "response": Kind("/v1/responses", {"input": "Hi", "max_output_tokens": 2, "stream": True, "store": False}),
    "message": Kind("/v1/messages", {"messages": MESSAGES, "max_tokens": 2, "stream": True}),
    "embedding": Kind("/v1/embeddings", {"input": ["a", "b"]}),
    "too long": Kind("/v1/completions", {"prompt": "word " * 9000, "max_tokens": 1}, 400),
    "wrong": Kind("/v1/chat/completions", {"messages": "no"}, 400),
    "unknown": Kind("/v1/nowhere", {}, 404),
    "models": Kind("/v1/models"),
    "metrics": Kind("/metrics"),
}


@pytest.fixture(scope="module")
def server(default_model: str, embedding_model: str) -> Iterator[Server]:
    """Its cache is full after the first requests, as what it knows of each block is an object, too."""
    words = (default_model, "--model", embedding_model, "--max-model-len", "512", "--kv-cache-memory-bytes", "16Mi")
    running = start_server(*words, "--response-store", "off", "--speculative-config", "off", program=PROGRAM)
    yield running
    assert running.stop() == 0


@pytest.mark.timeout(300)
def test_no_request_leaves_anything_behind(server: Server) -> None:
    for _ in range(WARM_ROUNDS):
        asyncio.run(one_round(server.url))
        before = counts(server)  # more than once: the first count is the first of its kind, too
    asyncio.run(one_round(server.url))
    after = counts(server)
    grown = {name: number - before["objects"].get(name, 0) for name, number in after["objects"].items()}
    print(sorted((number, name) for name, number in grown.items() if number), after["bytes"] - before["bytes"])
    assert {name: number for name, number in grown.items() if number > MAX_OBJECTS} == {}
    assert after["bytes"] - before["bytes"] < MAX_BYTES


async def one_round(url: str) -> None:
    kinds = list(KINDS) * NUM_EACH
    random.Random(1).shuffle(kinds)
    todo = iter(kinds)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def work() -> None:
            for name in todo:
                await ask(client, KINDS[name])

        await asyncio.gather(*(work() for _ in range(NUM_AT_ONCE)))


async def ask(client: httpx.AsyncClient, kind: Kind) -> None:
    method = "GET" if kind.body is None else "POST"
    async with client.stream(method, kind.path, json=kind.body) as answer:
        assert answer.status_code == kind.status, await answer.aread()
        async for _ in answer.aiter_raw():
            if kind.is_left:
                break


def counts(server: Server) -> dict[str, Any]:
    from fixtures.counted_server import MARK

    server.wait_until_idle()
    httpx.post(f"{server.url}/v1/chat/completions", json=CHAT, timeout=60)  # the engine keeps its last step
    server.wait_until_idle()
    num_before = len(server.output)
    time.sleep(2)  # freed memory is returned, connections of clients that left are closed
    server.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for line in server.output[num_before:]:
            if line.startswith(MARK):
                return dict(json.loads(line.removeprefix(MARK)))
        time.sleep(0.1)
    raise AssertionError("the server printed no counts")
