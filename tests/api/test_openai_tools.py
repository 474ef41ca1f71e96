"""Calls and structured output through the official client, its own stream and parse helpers included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pydantic
import pytest

from inglenook.types import ChatRequest, Delta, ToolCallDelta, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

QUESTION: Any = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA, "strict": True}} for name in ("f", "g")
]
END = Delta(0, "", (9,), finish_reason="tool_calls", usage=Usage(7, 3, 4))
CALLS = (
    Delta(0, "So:", (1,)),
    Delta(0, "", (2,), tool_calls=(ToolCallDelta(0, "call_00001", "f"),)),
    Delta(0, "", (3,), tool_calls=(ToolCallDelta(0, arguments='{"x"'),)),
    Delta(
        0,
        "",
        (4,),
        tool_calls=(ToolCallDelta(0, arguments=": 1}"), ToolCallDelta(1, "call_00002", "g", '{"x": ')),
    ),
    Delta(0, "", (5,), tool_calls=(ToolCallDelta(1, arguments="2}"),)),
    END,
)


@pytest.fixture
def client(url: str, backend: ScriptedBackend) -> openai.OpenAI:
    backend.script = CALLS
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def check(choice: Any) -> None:
    assert choice.message.content == "So:"
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert [(call.id, call.type, call.function.name) for call in calls] == [
        ("call_00001", "function", "f"),
        ("call_00002", "function", "g"),
    ]
    assert [json.loads(call.function.arguments) for call in calls] == [{"x": 1}, {"x": 2}]


def test_whole(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    check(client.chat.completions.create(model="tiny", messages=QUESTION, tools=TOOLS).choices[0])
    request = backend.requests[0]
    assert isinstance(request, ChatRequest)
    assert [tool.name for tool in request.tool_use.callable_tools] == ["f", "g"]


def test_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="tiny", messages=QUESTION, tools=TOOLS) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        check(stream.get_final_completion().choices[0])
    assert [(event.name, event.index, json.loads(event.arguments)) for event in done] == [
        ("f", 0, {"x": 1}),
        ("g", 1, {"x": 2}),
    ]


def test_parse_helper_with_tools(client: openai.OpenAI) -> None:
    class f(pydantic.BaseModel):
        x: int

    class g(pydantic.BaseModel):
        x: int

    tools = [openai.pydantic_function_tool(f), openai.pydantic_function_tool(g)]
    answer = client.chat.completions.parse(model="tiny", messages=QUESTION, tools=tools)
    parsed = [call.function.parsed_arguments for call in answer.choices[0].message.tool_calls or []]
    assert parsed == [f(x=1), g(x=2)]


def test_parse_helper_with_a_format(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    class Person(pydantic.BaseModel):
        name: str
        age: int

    backend.script = (Delta(0, '{"name": "A"', (1,)), Delta(0, ', "age": 3}', (2,), finish_reason="stop"))
    answer = client.chat.completions.parse(model="tiny", messages=QUESTION, response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="A", age=3)
    with client.chat.completions.stream(model="tiny", messages=QUESTION, response_format=Person) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Person(name="A", age=3)
    constraints = [request.constraint for request in backend.requests]
    assert all(constraint and constraint.value["required"] == ["name", "age"] for constraint in constraints)


def test_choices_side_by_side(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    other = [Delta(1, d.text, d.token_ids, finish_reason=d.finish_reason, tool_calls=d.tool_calls) for d in CALLS]
    backend.script = tuple(delta for pair in zip(CALLS, other, strict=True) for delta in pair)
    with client.chat.completions.stream(model="tiny", messages=QUESTION, tools=TOOLS, n=2) as stream:
        final = stream.get_final_completion()
    for choice in final.choices:
        check(choice)


def test_the_older_form(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    backend.script = (*CALLS[1:3], Delta(0, "", (4,), tool_calls=(ToolCallDelta(0, arguments=": 1}"),)), END)
    functions: Any = [{"name": "f", "parameters": SCHEMA}]
    choice = client.chat.completions.create(model="tiny", messages=QUESTION, functions=functions).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert (choice.message.function_call.name, choice.message.function_call.arguments) == ("f", '{"x": 1}')
    chunks = list(client.chat.completions.create(model="tiny", messages=QUESTION, functions=functions, stream=True))
    pieces = [chunk.choices[0].delta.function_call for chunk in chunks]
    assert "".join(piece.arguments or "" for piece in pieces if piece) == '{"x": 1}'
    assert [piece.name for piece in pieces if piece] == ["f", None, None]


def test_reasoning(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "", (1,), reasoning="Hm."), Delta(0, "Yes.", (2,), finish_reason="stop"))
    message: Any = client.chat.completions.create(model="tiny", messages=QUESTION, reasoning_effort="low").choices[0]
    assert (message.message.content, message.message.reasoning, message.message.reasoning_content) == (
        "Yes.",
        "Hm.",
        "Hm.",
    )


def test_bad_tools(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=QUESTION, tool_choice="required")
    assert caught.value.param == "tool_choice"
