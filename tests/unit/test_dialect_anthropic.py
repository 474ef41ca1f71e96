"""Anthropic's requests as they are read: what becomes of each field, and what is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from inglenook.dialects.anthropic.fields import REFUSED, WITHOUT_EFFECT
from inglenook.dialects.anthropic.requests import MessagesCall, parse_count, parse_messages
from inglenook.dialects.anthropic.schemas import messages_schema
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import ReasoningOptions

QUESTION: Any = [{"role": "user", "content": "Hi"}]
TOOL = {"name": "f", "description": "Does it", "input_schema": {"type": "object", "properties": {"x": {}}}}
CACHED = {"type": "ephemeral", "ttl": "1h"}


def parse(**fields: Any) -> MessagesCall:
    return parse_messages(json.dumps({"max_tokens": 9, "messages": QUESTION, **fields}).encode(), "msg_1")


def said(**fields: Any) -> list[tuple[str, str | None]]:
    return [(m.role, m.content) for m in parse(**fields).request.messages]


def refused(**fields: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse(**fields)
    return caught.value


def test_sampling() -> None:
    call = parse(temperature=0.5, top_p=0.9, top_k=7, stop_sequences=["a", "b"], stream=True)
    sampling = call.request.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k) == (9, 0.5, 0.9, 7)
    assert sampling.stop == ("a", "b")
    assert call.stream and call.request.request_id == "msg_1"
    assert call.request.model_defaulted == {"min_p", "repetition_penalty"}
    assert parse().request.model_defaulted >= {"temperature", "top_p", "top_k"}
    assert (parse(max_tokens=0).max_tokens, parse(max_tokens=0).request.sampling.max_tokens) == (0, 1)


def test_counting_needs_no_limit() -> None:
    assert parse_count(json.dumps({"messages": QUESTION}).encode()).request.sampling.max_tokens is None
    assert refused(max_tokens=None).param == "max_tokens"


# --- messages -------------------------------------------------------------------------------------


def test_system() -> None:
    assert said(system="Be brief.") == [("system", "Be brief."), ("user", "Hi")]
    blocks = [
        {"type": "text", "text": "You are an agent.", "cache_control": CACHED},
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": ""},
    ]
    assert said(system=blocks)[0] == ("system", "You are an agent.\nBe brief.")
    assert said(system="") == said(system=[]) == said(system=None) == [("user", "Hi")]


def test_the_block_that_differs_in_every_request_is_left_out() -> None:
    blocks = [{"type": "text", "text": f"x-anthropic-billing-header: cch={n};"} for n in range(1)]
    call = parse(system=[*blocks, {"type": "text", "text": "Be brief."}])
    assert call.request.messages[0].content == "Be brief."
    assert len(call.warnings) == 1
    assert parse(system="Be brief.").warnings == ()


def test_blocks() -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a", "cache_control": CACHED}, {"type": "text", "text": "b"}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "tool_use", "id": "toolu_01", "name": "f", "input": {}, "cache_control": CACHED},
            ],
        },
        {"role": "system", "content": "9 tokens left"},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "is_error": True, "content": "Error: none"},
                {"type": "tool_result", "tool_use_id": "toolu_02"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_03",
                    "content": [{"type": "tool_reference", "tool_name": "f"}],
                },
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": ""}]},
    ]
    assert said(messages=messages) == [
        ("user", "a\nb"),
        ("assistant", None),
        ("system", "9 tokens left"),
        ("tool", "Error: none"),
        ("tool", ""),
        ("tool", "f"),
    ]
    turn, result = (parse(messages=messages).request.messages[i].extra for i in (1, 3))
    assert turn["reasoning_content"] == "hm"
    assert turn["tool_calls"] == [{"id": "01", "type": "function", "function": {"name": "f", "arguments": {}}}]
    assert result == {"tool_call_id": "01"}


def test_prefill() -> None:
    begun = [*QUESTION, {"role": "assistant", "content": "I"}]
    request = parse(messages=begun).request
    assert request.continue_final_message and not request.add_generation_prompt
    for last in ("", [{"type": "text", "text": ""}], [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]):
        request = parse(messages=[*QUESTION, {"role": "assistant", "content": last}]).request
        assert request.add_generation_prompt and not request.continue_final_message


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("Hi", "messages"),
        ([{"role": "user", "content": ""}], "messages"),
        ([7], "messages[0]"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"content": "Hi"}], "messages[0].role"),
        ([{"role": "tool", "content": "Hi"}], "messages[0].role"),
        ([{"role": "user", "content": [7]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"text": "Hi"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "tool_result"}]}], "messages[0].content[0].tool_use_id"),
        (
            [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f"}]}],
            "messages[0].content[0].input",
        ),
    ],
)
def test_messages_that_are_none(messages: Any, param: str) -> None:
    assert refused(messages=messages).param == param


@pytest.mark.parametrize(
    "kind", ["image", "document", "search_result", "server_tool_use", "web_search_tool_result", "tool_use"]
)
def test_blocks_that_are_refused_by_name(kind: str) -> None:
    for content in ([{"type": kind}], [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": kind}]}]):
        error = refused(messages=[{"role": "user", "content": content}])
        assert isinstance(error, UnsupportedParameterError) and kind in error.message


# --- tools ----------------------------------------------------------------------------------------


def test_tools() -> None:
    use = parse(
        tools=[{**TOOL, "cache_control": CACHED, "strict": True, "input_examples": [{"x": 1}]}]
    ).request.tool_use
    [tool] = use.tools
    assert (tool.name, tool.description, tool.is_strict) == ("f", "Does it", True)
    assert tool.parameters == TOOL["input_schema"]
    assert tool.definition == {
        "type": "function",
        "function": {"name": "f", "description": "Does it", "parameters": TOOL["input_schema"]},
    }
    assert (use.mode, use.is_parallel) == ("auto", True)
    assert parse(tools=[]).request.tool_use.tools == ()


@pytest.mark.parametrize(
    ("choice", "mode", "allowed", "is_parallel"),
    [
        ({"type": "auto"}, "auto", None, True),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", None, False),
        ({"type": "any"}, "required", None, True),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", None, False),
        ({"type": "tool", "name": "f"}, "required", {"f"}, False),
        ({"type": "none"}, "none", None, True),
    ],
)
def test_tool_choice(choice: Any, mode: str, allowed: Any, is_parallel: bool) -> None:
    use = parse(tools=[TOOL], tool_choice=choice).request.tool_use
    assert (use.mode, use.allowed, use.is_parallel) == (mode, allowed, is_parallel)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "f"}, "tools"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f", "input_schema": {"type": "string"}}]}, "tools[0].input_schema.type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
    ],
)
def test_tools_that_are_none(fields: Any, param: str) -> None:
    assert refused(**fields).param == param


# --- thinking and formats -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected", "shows"),
    [
        ({}, ReasoningOptions(None, False, is_included=False), True),
        ({"thinking": {"type": "disabled"}}, ReasoningOptions(None, False, is_included=False), True),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, ReasoningOptions(None, True, 2048), True),
        ({"thinking": {"type": "enabled", "display": "omitted"}}, ReasoningOptions(None, True), False),
        ({"thinking": {"type": "adaptive"}}, ReasoningOptions(), True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, ReasoningOptions("max"), True),
        ({"output_config": {"effort": "low"}}, ReasoningOptions("low", is_included=False), True),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            ReasoningOptions(None, False, is_included=False),
            True,
        ),
    ],
)
def test_thinking(fields: Any, expected: ReasoningOptions, shows: bool) -> None:
    call = parse(**fields)
    assert (call.request.reasoning, call.shows_thinking) == (expected, shows)


@pytest.mark.parametrize("where", ["output_config", "output_format"])
def test_formats(where: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    constraint = parse(**{where: form if where == "output_format" else {"format": form}}).request.constraint
    assert constraint is not None
    assert (constraint.kind, constraint.value) == ("json_schema", {"type": "object"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"service_tier": "best"}, "service_tier"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "none"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management.edits[0]"),
        ({"mcp_servers": [{"url": "http://x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"system": [{"type": "image"}]}, "system[0]"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_refused(fields: Any, param: str) -> None:
    assert refused(**fields).param == param


def test_what_changes_nothing() -> None:
    call = parse(
        metadata={"user_id": "me"},
        cache_control=CACHED,
        service_tier="standard_only",
        speed="standard",
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        mcp_servers=[],
        container=None,
    )
    assert call.unknown_fields == ()
    assert parse(nonsense=1, nothing=None).unknown_fields == ("nonsense",)


def test_the_page_names_every_field() -> None:
    """In its first table: what the parser reads, and what it knows."""
    known = {*messages_schema()["properties"], *WITHOUT_EFFECT, *REFUSED}
    page = (Path(__file__).parents[2] / "docs" / "anthropic.md").read_text()
    table = page[page.index("## Fields of a request") : page.index("**Messages**")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert known == named
