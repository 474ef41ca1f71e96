"""MetaGPT's requests for `api_type: open_llm`, as its provider makes them with the openai SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fixtures.server_process import Server, start_server

MESSAGES: list[Any] = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Write one line of Python."},
]
ARGUMENTS: dict[str, Any] = {"model": "llama2-13b", "messages": MESSAGES, "max_tokens": 4096, "temperature": 0.0}


@pytest.fixture(scope="module")
def small_server(default_model: str) -> Iterator[Server]:
    """A context in which the 4096 tokens that MetaGPT always asks for have no room."""
    server = start_server(default_model, "--served-model-name", "llama2-13b", "--max-model-len", "256")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def client(small_server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{small_server.url}/v1", api_key="sk-", timeout=600, max_retries=0)


def usage_of(chunks: list[Any]) -> Any:
    """How MetaGPT reads it: on a chunk that has a choice, or in that choice. It passes over chunks that have none."""
    for chunk in chunks:
        if not chunk.choices:
            continue
        if getattr(chunk, "usage", None):
            return chunk.usage
        if hasattr(chunk.choices[0], "usage"):
            return chunk.choices[0].usage
    return None


def test_whole(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ARGUMENTS)
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.total_tokens <= 256
    if answer.choices[0].finish_reason == "length":
        assert answer.usage.total_tokens == 256
    assert "max_tokens is 4096, but the context leaves room for" in raw.headers["x-inglenook-warnings"]


def test_streamed(client: openai.OpenAI) -> None:
    """OpenAI sends no usage unless it is asked for; MetaGPT counts then, for open_llm with a table of its own."""
    whole = client.chat.completions.create(**ARGUMENTS)
    chunks = list(client.chat.completions.create(**ARGUMENTS, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == whole.choices[0].finish_reason
    assert all(chunk.choices for chunk in chunks)
    assert usage_of(chunks) is None


def test_usage_where_metagpt_sees_it(client: openai.OpenAI) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(client.chat.completions.create(**ARGUMENTS, stream=True, stream_options=options))  # type: ignore[call-overload]
    assert usage_of(chunks[-2:]).completion_tokens == chunks[-1].usage.completion_tokens


def test_the_requests_bytes(small_server: Server) -> None:
    body = {**ARGUMENTS, "stream": True}
    headers = {"Authorization": "Bearer sk-", "Content-Type": "application/json", "Accept": "application/json"}
    response = httpx.post(f"{small_server.url}/v1/chat/completions", content=json.dumps(body), headers=headers)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("data: [DONE]\n\n")
    assert "capped" in response.headers["x-inglenook-warnings"]
