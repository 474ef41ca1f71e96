"""Anthropic's client, and what coding agents send, against the real default model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anthropic
import httpx
import jsonschema
import pytest

from fixtures.anthropic_schemas import COUNTED, check_message, joined, read_events
from fixtures.server_process import Server

MODEL = "smollm2:135m"
QUESTION: Any = [{"role": "user", "content": "Tell me about the sea."}]
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "description": "The weather in a city", "input_schema": CITY}
CACHED = {"type": "ephemeral"}


@pytest.fixture
def client(server: Server) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def greedy(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 24, "messages": QUESTION, "temperature": 0, **fields}


def test_whole_streamed_and_counted(server: Server, client: anthropic.Anthropic) -> None:
    body = greedy(system="Be brief.")
    whole = check_message(httpx.post(f"{server.url}/v1/messages", json=body, timeout=60).json())
    streamed = joined(httpx.post(f"{server.url}/messages", json={**body, "stream": True}, timeout=60).text)
    assert whole["content"] == streamed["content"] and whole["content"][0]["text"]
    assert whole["stop_reason"] == streamed["stop_reason"] == "max_tokens"
    assert whole["usage"]["output_tokens"] == streamed["usage"]["output_tokens"] == 24
    counted = client.messages.count_tokens(model=MODEL, system="Be brief.", messages=QUESTION).input_tokens
    for usage in (whole["usage"], streamed["usage"]):
        assert usage["input_tokens"] + usage["cache_read_input_tokens"] == counted


def test_prefill_and_stop_sequences(client: anthropic.Anthropic) -> None:
    begun = [{"role": "user", "content": "Count to ten."}, {"role": "assistant", "content": "1, 2, 3,"}]
    answer = client.messages.create(
        model=MODEL, max_tokens=40, messages=begun, stop_sequences=["7"], extra_body={"temperature": 0}
    )
    assert answer.content[0].text.startswith(" 4, 5")
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "7")
    assert "7" not in answer.content[0].text


def test_filling_the_cache_alone(client: anthropic.Anthropic) -> None:
    words = " ".join(f"word{n}" for n in range(100))
    messages: Any = [{"role": "user", "content": words}]
    first = client.messages.create(model=MODEL, max_tokens=0, messages=messages)
    assert (first.content, first.stop_reason, first.usage.output_tokens) == ([], "max_tokens", 0)
    num_begun = first.usage.cache_read_input_tokens or 0  # what the template puts before: others have sent it
    assert num_begun < 0.2 * first.usage.input_tokens
    second = client.messages.create(model=MODEL, max_tokens=1, messages=messages)
    assert second.usage.cache_read_input_tokens > 0.95 * (num_begun + first.usage.input_tokens)


def test_tools_loop(client: anthropic.Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    with client.messages.stream(
        model=MODEL,
        max_tokens=200,
        messages=messages,
        tools=[WEATHER],
        tool_choice={"type": "any"},
        extra_body={"temperature": 0},
    ) as stream:
        answer = stream.get_final_message()
    assert answer.stop_reason == "tool_use"
    calls = [block for block in answer.content if block.type == "tool_use"]
    for call in calls:
        assert call.name == "get_weather"
        jsonschema.validate(call.input, CITY)
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "It rains."} for call in calls]
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    answer = client.messages.create(
        model=MODEL,
        max_tokens=20,
        messages=messages,
        tools=[WEATHER],
        tool_choice={"type": "none"},
        extra_body={"temperature": 0},
    )
    assert [block.type for block in answer.content] == ["text"]


def test_output_format(client: anthropic.Anthropic) -> None:
    form: Any = {"format": {"type": "json_schema", "schema": {**CITY, "additionalProperties": False}}}
    answer = client.messages.create(
        model=MODEL, max_tokens=100, messages=QUESTION, output_config=form, extra_body={"temperature": 0}
    )
    jsonschema.validate(json.loads(answer.content[0].text), CITY)


# --- coding agents --------------------------------------------------------------------------------

HEADERS = {
    "x-app": "cli",
    "user-agent": "claude-cli/2.1.117 (external, cli)",
    "anthropic-version": "2023-06-01",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "authorization": "Bearer none",
    "x-stainless-retry-count": "0",
}


def agent_tools() -> list[dict[str, Any]]:
    path = {"type": "string", "description": "The absolute path to the file"}
    schemas = {
        "Read": {"file_path": path, "offset": {"type": "number"}, "limit": {"type": "number"}},
        "Edit": {
            "file_path": path,
            "old_string": {"type": "string"},
            "replace_all": {"type": "boolean", "default": False},
        },
        "Bash": {"command": {"type": "string"}, "timeout": {"type": "number"}},
        "Grep": {"pattern": {"type": "string"}, "output_mode": {"type": "string", "enum": ["content", "count"]}},
        "TodoWrite": {
            "todos": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "content": {"type": "string", "minLength": 1},
                        "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
                    },
                    "required": ["content", "status"],
                    "additionalProperties": False,
                },
            }
        },
    }
    names = [*schemas, *(f"mcp__server__tool_{n}" for n in range(10))]
    return [
        {
            "name": name,
            "description": f"{name} does what its name says. Use it when it is needed.",
            "input_schema": {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": schemas.get(name, {"query": {"type": "string"}}),
                "required": list(schemas.get(name, {"query": None}))[:1],
                "additionalProperties": False,
            },
        }
        for name in names
    ]


def agent_request(turn: int) -> dict[str, Any]:
    """As Claude Code sends it: the first block of the system prompt is another one each time."""
    text = "You are an agent that helps with software. " * 20
    return {
        "model": MODEL,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>\nToday is Monday.\n</system-reminder>"},
                    {"type": "text", "text": "What does this project do?", "cache_control": CACHED},
                ],
            },
            *(
                (
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "I should read it.", "signature": "c2lnbg=="},
                            {"type": "text", "text": "I'll look."},
                            {"type": "tool_use", "id": "toolu_01AbC", "name": "Read", "input": {"file_path": "/a.md"}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "tool_use_id": "toolu_01AbC",
                                "type": "tool_result",
                                "content": "<tool_use_error>File does not exist.</tool_use_error>",
                                "is_error": True,
                                "cache_control": CACHED,
                            }
                        ],
                    },
                    {"role": "system", "content": "<total_tokens>5000 tokens left</total_tokens>"},
                )
                if turn
                else ()
            ),
        ],
        "system": [
            {
                "type": "text",
                "text": f"x-anthropic-billing-header: cc_version=2.1.117; cc_entrypoint=cli; cch={turn:05x};",
            },
            {
                "type": "text",
                "text": "You are Claude Code, Anthropic's official CLI for Claude.",
                "cache_control": CACHED,
            },
            {"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": agent_tools(),
        "metadata": {"user_id": json.dumps({"device_id": "0", "session_id": "1"})},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "stream": True,
    }


def test_a_coding_agent(server: Server) -> None:
    url = f"{server.url}/v1/messages?beta=true"
    usages = []
    for turn in (0, 1):
        body = {**agent_request(turn), "stop_sequences": ["e"], "temperature": 0}
        response = httpx.post(url, json=body, headers=HEADERS, timeout=120)
        assert response.status_code == 200, response.text
        usages.append(joined(response.text)["usage"])
        assert "max_tokens is 32000" in response.headers["x-inglenook-warnings"]
        assert "unknown" not in response.headers["x-inglenook-warnings"]
    assert usages[1]["cache_read_input_tokens"] > 0.6 * sum(usages[0][key] for key in usages[0] if "input" in key)
    counted = {key: body[key] for key in ("model", "messages", "system", "tools", "thinking")}
    response = httpx.post(f"{server.url}/v1/messages/count_tokens?beta=true", json=counted, headers=HEADERS)
    jsonschema.validate(response.json(), COUNTED)
    assert response.json()["input_tokens"] == sum(usages[1][key] for key in usages[1] if "input" in key)


def test_an_agent_that_interrupts(server: Server) -> None:
    with httpx.stream(
        "POST", f"{server.url}/v1/messages", json=agent_request(0), headers=HEADERS, timeout=60
    ) as response:
        seen = ""
        for text in response.iter_text():
            seen += text
            if seen.count("event: content_block_delta") > 2:
                break
    assert read_events(seen[: seen.rindex("\n\n") + 2])[0]["type"] == "message_start"
    server.wait_until_idle()


def test_what_agents_ask_beside_it(server: Server) -> None:
    """A probe of one token, and a title as JSON."""
    probe = {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
    check_message(httpx.post(f"{server.url}/v1/messages?beta=true", json=probe, headers=HEADERS, timeout=60).json())
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string", "maxLength": 40}},
        "required": ["title"],
        "additionalProperties": False,
    }
    title = {
        **probe,
        "max_tokens": 600,  # forty characters, each escaped at worst
        "system": [{"type": "text", "text": "Generate a title."}],
        "tools": [],
        "temperature": 1,
        "thinking": {"type": "disabled"},
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "stream": True,
    }
    message = joined(httpx.post(f"{server.url}/v1/messages?beta=true", json=title, headers=HEADERS, timeout=60).text)
    jsonschema.validate(json.loads(message["content"][0]["text"]), schema)


def test_the_example_of_the_documentation(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "anthropic.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(example.replace("http://127.0.0.1:8000", server.url), {})
    assert capsys.readouterr().out.strip()
