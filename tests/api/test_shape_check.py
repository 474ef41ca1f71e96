"""The check that all of these tests stand under: that it sees what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fixtures import shape_check

HEAD = {"id": "x", "created": 1, "model": "m", "system_fingerprint": "f"}
MESSAGE = {"role": "assistant", "content": "Hi", "refusal": None}
CHOICE = {"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
WHOLE = {**HEAD, "object": "chat.completion", "choices": [CHOICE], "usage": USAGE}


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **fields}


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    shape_check.violations.clear()


async def seen(content: bytes, kind: str = "application/json", status: int = 200) -> list[str]:
    async def answer(request: Request) -> Response:
        return Response(content, status, media_type=kind)

    app = Starlette(
        routes=[Route("/chat/completions", answer, methods=["POST"])],
        middleware=[Middleware(shape_check.CheckedGate, api_keys=())],
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t/v1") as http:
        await http.post("/chat/completions")
    return shape_check.violations


async def seen_stream(*chunks: dict[str, Any]) -> list[str]:
    return await seen(b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), "text/event-stream")


async def test_a_whole_answer() -> None:
    assert await seen(json.dumps(WHOLE).encode()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"choices": []}, "should be non-empty"),
        ({"usage": None}, "is not of type 'object'"),
        ({"created": "1"}, "is not of type 'integer'"),
        ({"odd": 1}, "'odd' was unexpected"),
        ({"choices": [{**CHOICE, "message": {"role": "assistant", "content": "x"}}]}, "'refusal' is a required"),
        ({"choices": [{**CHOICE, "message": {**MESSAGE, "tool_calls": None}}]}, "is not of type 'array'"),
        ({"choices": [{**CHOICE, "finish_reason": None}]}, "None is not one of"),
    ],
)
async def test_what_is_wrong_with_a_whole_one(change: dict[str, Any], words: str) -> None:
    [problem] = await seen(json.dumps(WHOLE | change).encode())
    assert words in problem


async def test_errors() -> None:
    error = {"message": "x", "type": "y", "param": None, "code": None}
    assert await seen(json.dumps({"error": error}).encode(), status=400) == []
    [problem] = await seen(json.dumps({"error": {**error, "code": 400}}).encode(), status=400)
    assert "400 is not" in problem


OPENS, SAYS, ENDS = chunk({"role": "assistant"}), chunk({"content": "x"}), chunk({}, "stop")


async def test_a_stream() -> None:
    assert await seen_stream(OPENS, SAYS, ENDS) == []


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ((SAYS,), "the role is said"),
        ((OPENS, OPENS), "the role is said"),
        ((OPENS, ENDS, SAYS), "behind its end"),
        ((OPENS, {**SAYS, "id": "y"}), "the id"),
        ((OPENS, {**SAYS, "usage": None}), "usage in some"),
        ((OPENS, {**SAYS, "choices": []}), "neither choices nor usage"),
        ((OPENS, {**SAYS, "created": None}), "is not of type 'integer'"),
    ],
)
async def test_what_is_wrong_with_a_stream(chunks: tuple[dict[str, Any], ...], words: str) -> None:
    problems = await seen_stream(*chunks)
    assert words in problems[0]
