"""Responses by the real client from a real server, every answer checked against the published shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pydantic
import pytest

from fixtures.response_schemas import check_response, read_events
from fixtures.server_process import Server, start_server

MODEL = "smollm2:135m"
LONG = "Here is what I know of rivers: " + "they run downhill to the sea, " * 30
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture(scope="module")
def server(default_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("store") / "responses.sqlite"
    running = start_server(default_model, "--response-store", str(store), "--max-model-len", "4096")
    assert not store.exists()
    yield running
    assert running.stop() == 0
    assert store.exists()


def create(server: Server, **fields: Any) -> Any:
    """Through the client, and checked as it came over the wire."""
    body = {"model": MODEL, "max_output_tokens": 12, "temperature": 0, **fields}
    raw = server.client().responses.with_raw_response.create(**body)
    check_response(json.loads(raw.content))
    return raw.parse()


def test_create(server: Server) -> None:
    response = create(server, input="What is the capital of France?", instructions="Answer briefly.")
    assert response.status in ("completed", "incomplete")
    assert response.usage.input_tokens_details.cached_tokens <= response.usage.input_tokens
    chat = server.client().chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        max_tokens=12,
        temperature=0,
    )
    assert response.output_text == chat.choices[0].message.content
    assert response.usage.input_tokens == chat.usage.prompt_tokens  # type: ignore[union-attr]


def test_stream_helper(server: Server) -> None:
    with server.client().responses.stream(model=MODEL, input="Say hi.", max_output_tokens=10, temperature=0) as stream:
        kinds = [event.type for event in stream]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert "response.output_text.delta" in kinds
    whole = create(server, input="Say hi.", max_output_tokens=200)
    with server.client().responses.stream(model=MODEL, input="Say hi.", max_output_tokens=200, temperature=0) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text == "".join(pieces)
    check_response(server.client().responses.retrieve(final.id).to_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{}, {"tools": [WEATHER], "tool_choice": "required", "max_output_tokens": 200}])
def test_raw_events(server: Server, fields: Any) -> None:
    body = {
        "model": MODEL,
        "input": "Weather in Rome?",
        "stream": True,
        "max_output_tokens": 10,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
        **fields,
    }
    read_events(httpx.post(f"{server.url}/v1/responses", json=body, timeout=60).text)


def test_parse(server: Server) -> None:
    class Town(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=20)
        is_large: bool

    response = server.client().responses.parse(
        model=MODEL, input="Name a town.", text_format=Town, max_output_tokens=200, temperature=0
    )
    assert isinstance(response.output_parsed, Town)
    with server.client().responses.stream(
        model=MODEL, input="Name a town.", text_format=Town, max_output_tokens=200, temperature=0
    ) as stream:
        assert stream.get_final_response().output_parsed == response.output_parsed


def test_tools_loop(server: Server) -> None:
    asked: Any = {"tools": [WEATHER], "max_output_tokens": 200}
    first = create(server, input="Weather in Rome?", tool_choice="required", **asked)
    [call] = first.output
    assert set(json.loads(call.arguments)) == {"city"}
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "It is 21 degrees and sunny."}
    second = create(server, input=[output], previous_response_id=first.id, tool_choice="none", **asked)
    by_hand = create(
        server,
        input=[{"role": "user", "content": "Weather in Rome?"}, *first.output, output],
        tool_choice="none",
        **asked,
    )
    assert second.output_text == by_hand.output_text != ""


def test_conversations_reuse_the_prefix(server: Server) -> None:
    first = create(server, input=LONG)
    cached = []
    previous = first
    for question in ("And lakes? " * 16, "And seas?"):
        response = create(server, input=question, previous_response_id=previous.id)
        cached.append(response.usage.input_tokens_details.cached_tokens)
        assert response.usage.input_tokens > previous.usage.input_tokens + previous.usage.output_tokens
        assert cached[-1] >= previous.usage.input_tokens, "all that was computed before"
        previous = response
    assert cached[0] < cached[1]
    assert [item.content[0].text for item in server.client().responses.input_items.list(previous.id)] == ["And seas?"]


def test_delete_and_errors(server: Server) -> None:
    client = server.client()
    response = create(server, input="Hi")
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError) as caught:
        create(server, input="Hi", previous_response_id=response.id)
    assert caught.value.code == "previous_response_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        create(server, input="Hi", tools=[{"type": "web_search"}])
    assert refused.value.param == "tools[0].type"
    with pytest.raises(openai.BadRequestError) as too_long:
        create(server, input="word " * 5000)
    assert too_long.value.code == "context_length_exceeded"
    truncated = create(
        server,
        input=[{"role": "user", "content": "word " * 5000}, {"role": "user", "content": "Say hi."}],
        truncation="auto",
    )
    assert truncated.usage.input_tokens < 100


def test_counted_before_and_after(server: Server) -> None:
    count = server.client().responses.input_tokens.count(model=MODEL, input="Hi there", instructions="Be kind.")
    assert count.input_tokens == create(server, input="Hi there", instructions="Be kind.").usage.input_tokens


def test_a_client_that_leaves(server: Server) -> None:
    with server.client().responses.create(
        model=MODEL, input="Tell a long story.", stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    server.wait_until_idle()


def test_background_and_cancel(server: Server) -> None:
    client = server.client()
    endless: Any = {
        "model": MODEL,
        "input": "Tell a long story.",
        "background": True,
        "extra_body": {"ignore_eos": True},
    }
    response = client.responses.create(**endless)
    assert response.status == "in_progress"
    assert client.responses.cancel(response.id).status == "cancelled"
    server.wait_until_idle()
    assert client.responses.retrieve(response.id).status == "cancelled"


def test_a_new_start_keeps_them(serve: Callable[..., Server], default_model: str, tmp_path: Path) -> None:
    store = tmp_path / "r.sqlite"
    arguments = (default_model, "--response-store", str(store), "--max-model-len", "2048")
    first = serve(*arguments)
    response = create(first, input="My name is Ada.")
    endless: Any = {"model": MODEL, "input": "Hi", "background": True, "extra_body": {"ignore_eos": True}}
    running = first.client().responses.create(**endless)
    assert first.stop(40) == 0
    second = serve(*arguments)
    assert second.client().responses.retrieve(response.id).output_text == response.output_text
    assert create(second, input="What is it?", previous_response_id=response.id).status in ("completed", "incomplete")
    # The running one got its time to end; if that was too short, it says so.
    ended = second.client().responses.retrieve(running.id)
    check_response(ended.to_dict())  # type: ignore[arg-type]
    assert ended.status in ("incomplete", "failed")


def test_the_page(server: Server) -> None:
    page = (Path(__file__).parents[2] / "docs" / "responses.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed: list[Any] = []
    exec(code.replace("http://127.0.0.1:8000", server.url), {"print": lambda *values: printed.append(values)})
    assert len(printed) == 2
    assert printed[1][1] >= 32  # cached tokens
