"""Tools and their choice, as OpenAI's clients send them today and sent them before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inglenook.dialects.openai.requests import Parsed, parse_chat
from inglenook.dialects.openai.tools import CallForm
from inglenook.errors import InvalidRequestError
from inglenook.types import ChatRequest, Tool, ToolUse

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
F = {"name": "f", "description": "Does f.", "parameters": SCHEMA}
G = {"name": "g"}


def wrapped(function: Any) -> dict[str, Any]:
    return {"type": "function", "function": function}


TOOLS = [wrapped(F), wrapped(G)]


def parse(**fields: Any) -> Parsed[ChatRequest]:
    return parse_chat(json.dumps({"messages": [{"role": "user", "content": "Hi"}], **fields}).encode(), "id-1")


def use(**fields: Any) -> ToolUse:
    return parse(**fields).request.tool_use


def named(name: str) -> dict[str, Any]:
    return wrapped({"name": name})


def test_tools() -> None:
    f, g = use(tools=TOOLS).tools
    assert f == Tool("f", wrapped(F), "Does f.", SCHEMA)
    assert (g.name, g.definition, g.description) == ("g", wrapped(G), "")
    assert g.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    assert use(tools=[wrapped({**F, "strict": True})]).tools[0].is_strict
    assert use(tools=[{"function": G}]).tools[0].definition == wrapped(G)
    assert use(tools=[wrapped({"name": "h", "parameters": {"properties": {}}})]).tools[0].parameters == {
        "type": "object",
        "properties": {},
    }
    assert use(tools=[wrapped({"name": "h", "parameters": {}, "description": None})]).tools[0].parameters["type"]


def test_no_tools() -> None:
    """ollama-python and others send an empty list."""
    for fields in ({}, {"tools": []}, {"tools": None, "tool_choice": "none"}, {"tools": [], "tool_choice": "auto"}):
        assert use(**fields).callable_tools == ()
    assert use(functions=[], function_call="auto").tools == ()


@pytest.mark.parametrize(
    ("choice", "mode", "allowed", "reason"),
    [
        (None, "auto", None, "tool_calls"),
        ("auto", "auto", None, "tool_calls"),
        ("none", "none", None, "tool_calls"),
        ("required", "required", None, "tool_calls"),
        (named("g"), "required", {"g"}, "stop"),
        ({"type": "function", "name": "g"}, "required", {"g"}, "stop"),
        ({"type": "allowed_tools", "allowed_tools": {"tools": [named("f")]}}, "auto", {"f"}, "tool_calls"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("f"), named("g")]}},
            "required",
            {"f", "g"},
            "tool_calls",
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]},
            "required",
            {"g"},
            "tool_calls",
        ),
    ],
)
def test_choices(choice: Any, mode: str, allowed: set[str] | None, reason: str) -> None:
    parsed = parse(tools=TOOLS, tool_choice=choice)
    tool_use = parsed.request.tool_use
    assert (tool_use.mode, tool_use.allowed, tool_use.is_parallel) == (mode, allowed, reason != "stop")
    assert {tool.name for tool in tool_use.callable_tools} == (set() if mode == "none" else allowed or {"f", "g"})
    assert parsed.call_form == CallForm(False, reason)  # type: ignore[arg-type]


def test_parallel_calls() -> None:
    assert use(tools=TOOLS, parallel_tool_calls=False).is_parallel is False
    assert use(tools=TOOLS, parallel_tool_calls=None).is_parallel is True


def test_the_older_form() -> None:
    parsed = parse(functions=[F, G])
    assert parsed.request.tool_use.tools == use(tools=TOOLS).tools
    assert (parsed.request.tool_use.mode, parsed.request.tool_use.is_parallel) == ("auto", False)
    assert parsed.call_form == CallForm(True, "function_call")
    assert use(functions=[F], function_call="none").callable_tools == ()
    forced = parse(functions=[F, G], function_call={"name": "g"})
    assert [tool.name for tool in forced.request.tool_use.callable_tools] == ["g"]
    assert forced.request.tool_use.mode == "required"
    assert forced.call_form == CallForm(True, "stop")


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"tools": {}}, "tools", "expected a list"),
        ({"tools": ["f"]}, "tools[0]", "an object with type and function"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing"),
        ({"tools": [wrapped(5)]}, "tools[0].function", "an object with a name"),
        ({"tools": [wrapped({})]}, "tools[0].function.name", "missing"),
        ({"tools": [wrapped({"name": 5})]}, "tools[0].function.name", "expected a string"),
        ({"tools": [wrapped({"name": "a b"})]}, "tools[0].function.name", "letters, digits"),
        ({"tools": [wrapped({"name": "x" * 129})]}, "tools[0].function.name", "128"),
        ({"tools": [wrapped({**F, "parameters": []})]}, "tools[0].function.parameters", "a JSON Schema of an object"),
        ({"tools": [wrapped({**F, "parameters": {"type": "string"}})]}, "tools[0].function.parameters.type", "object"),
        ({"tools": [wrapped({**F, "strict": 1})]}, "tools[0].function.strict", "expected a boolean"),
        ({"tools": [wrapped({**F, "description": 1})]}, "tools[0].function.description", "expected a string"),
        ({"tools": [wrapped(F), wrapped(F)]}, "tools", "another one named 'f'"),
        ({"tools": [wrapped(F)] * 1025}, "tools", "at most 1024"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice", "'any'"),
        ({"tools": TOOLS, "tool_choice": 5}, "tool_choice", "must be"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom"}}, "tool_choice", "must be"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function.name", "missing"),
        ({"tools": TOOLS, "tool_choice": named("h")}, "tool_choice", "'h', which is not among the tools (f, g)"),
        ({"tool_choice": named("f")}, "tool_choice", "there are none"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice", "no tools"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}},
            "tool_choice.allowed_tools.tools",
            "empty",
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [named("h")]}}},
            "tool_choice",
            "'h'",
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "mode": "none", "tools": [named("f")]}},
            "tool_choice.mode",
            "'none'",
        ),
        ({"tools": TOOLS, "parallel_tool_calls": "no"}, "parallel_tool_calls", "expected a boolean"),
        ({"functions": [F], "tools": TOOLS}, "functions", "older form"),
        ({"function_call": "auto", "tools": TOOLS}, "function_call", "older form"),
        ({"functions": [F], "tool_choice": "auto"}, "functions", "older form"),
        ({"functions": [{}]}, "functions[0].name", "missing"),
        ({"functions": [F], "function_call": "f"}, "function_call", "'f'"),
        ({"functions": [F], "function_call": {"name": "g"}}, "function_call", "'g'"),
        ({"function_call": {"name": "g"}}, "function_call", "there are none"),
    ],
)
def test_what_nobody_could_call_is_named(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(**fields)
    assert caught.value.status == 400
    assert caught.value.param == param
    assert words in caught.value.message
