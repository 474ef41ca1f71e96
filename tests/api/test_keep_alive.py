"""Streams that are silent for long: comments for those who wait, plain HTTP errors for those who needn't."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from inglenook.errors import EngineError, InvalidRequestError
from inglenook.server import sse
from inglenook.server.answer import Answer
from inglenook.server.sse import EventStream, Framing
from inglenook.types import Delta, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

HELLO = (
    Delta(0, "Hello", (1,)),
    Delta(0, " there", (2,)),
    Delta(0, "", (3,), finish_reason="stop", usage=Usage(7, 3, 4)),
)
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
COMMENT = ": keep-alive\n\n"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.05)


async def test_comments_before_the_first_token(
    http: httpx.AsyncClient, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.script = (0.2, *HELLO)
    answer = await http.post("/v1/chat/completions", json=CHAT)
    comments, _, events = answer.text.rpartition(COMMENT)
    assert comments == COMMENT * comments.count(COMMENT)
    backend.script = HELLO
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 60)
    plain = (await http.post("/v1/chat/completions", json=CHAT)).text
    assert COMMENT not in plain
    assert _choices(events) == _choices(plain)


def _choices(text: str) -> list[object]:
    return [json.loads(line[6:])["choices"] for line in text.splitlines() if line.startswith("data: {")]


async def test_comments_between_tokens(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (HELLO[0], 0.2, *HELLO[1:])
    text = (await http.post("/v1/chat/completions", json=CHAT)).text
    assert text.startswith("data: ")
    assert COMMENT in text
    assert text.endswith("data: [DONE]\n\n")


async def test_errors_at_once_are_plain_ones(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (InvalidRequestError("no"),)
    answer = await http.post("/v1/chat/completions", json=CHAT)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "no")


async def test_errors_behind_a_comment_are_events(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (0.2, EngineError("broken"))
    answer = await http.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200
    *_, error, done, rest = answer.text.split("\n\n")
    assert json.loads(error[6:])["error"]["message"] == "broken"
    assert (done, rest) == ("data: [DONE]", "")


def test_clients_pass_over_comments(url: str, backend: ScriptedBackend) -> None:
    backend.script = (0.2, HELLO[0], 0.2, *HELLO[1:])
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    chunks = list(client.chat.completions.create(model="tiny", messages=CHAT["messages"], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"


async def test_other_framings_get_none() -> None:
    class Lines:
        def encode(self, delta: Delta) -> list[bytes]:
            return [delta.text.encode()]

        def end(self) -> list[bytes]:
            return []

        def fail(self, error: Exception) -> list[bytes]:
            return [b"error"]

    async def deltas() -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(0.15)
        yield Delta(0, "x", usage=Usage())

    async def receive() -> Any:
        await asyncio.sleep(10)

    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    answer = Answer(deltas(), receive, set())
    framing = Framing("application/x-ndjson", lambda events: b"".join(bytes(event) + b"\n" for event in events))
    await EventStream(answer, Lines(), (), framing)({"type": "http"}, receive, send)
    assert sent == [b"", b"x\n", b""]
