"""Tool calls by the real default model, whose template knows nothing of tools."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from jsonschema import validate

from fixtures.server_process import Server
from inglenook import LLM

MODEL = "smollm2:135m"
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 40},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "now", "description": "The current time"}},
]
NAMED: Any = {"type": "function", "function": {"name": "get_weather"}}


def check(call: Any) -> None:
    arguments = json.loads(call.function.arguments)
    if call.function.name == "now":
        assert arguments == {}
    else:
        assert call.function.name == "get_weather"
        validate(arguments, PARAMETERS)


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_forced_calls(server: Server, choice: Any, temperature: float) -> None:
    """At temperature 2 a small model writes anything that it may."""
    request: Any = {
        "model": MODEL,
        "messages": QUESTION,
        "tools": TOOLS,
        "tool_choice": choice,
        "temperature": temperature,
        "seed": 1,
        "max_tokens": 300,
    }
    whole = server.client().chat.completions.create(**request).choices[0]
    assert whole.finish_reason == ("stop" if choice is NAMED else "tool_calls")
    assert whole.message.content is None
    [call] = whole.message.tool_calls
    check(call)
    with server.client().chat.completions.stream(**request) as stream:
        streamed = stream.get_final_completion().choices[0]
    [again] = streamed.message.tool_calls
    assert again.function.arguments == call.function.arguments
    assert streamed.finish_reason == whole.finish_reason


def test_a_call_cut_off_says_so(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice=NAMED, max_tokens=14, temperature=0
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 14


def test_a_conversation_with_results(server: Server) -> None:
    call = {"id": "call_000001", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages: Any = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_000001", "content": "12:30"},
    ]
    answer = server.client().chat.completions.create(
        model=MODEL, messages=messages, tools=TOOLS, tool_choice="none", max_tokens=16, temperature=0
    )
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


def test_the_same_tokens_with_and_without_others(server: Server) -> None:
    """Guided and free requests share steps; none changes another's tokens."""
    from concurrent.futures import ThreadPoolExecutor

    def ask(index: int) -> str:
        tools = {"tools": TOOLS, "tool_choice": "required"} if index % 2 else {}
        answer = server.client().chat.completions.create(
            model=MODEL, messages=QUESTION, seed=index, max_tokens=40, temperature=1.0, **tools
        )
        return answer.choices[0].message.model_dump_json(exclude={"tool_calls": {"__all__": {"id"}}})

    alone = [ask(index) for index in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == alone


def test_refusals(server: Server) -> None:
    bad: Any = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": 123}}}}}]
    with pytest.raises(openai.BadRequestError) as caught:
        server.client().chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS + bad)
    assert caught.value.param == "tools[2].function.parameters"


def test_in_python(default_model: str) -> None:
    with LLM(default_model, max_model_len=1024) as llm:
        answer = llm.chat(QUESTION, tools=TOOLS, tool_choice="required", max_tokens=200, temperature=0.0)
        assert answer.finish_reason == "tool_calls"
        assert json.loads(answer.tool_calls[0].arguments) is not None
        answer = llm.chat(QUESTION, response_format={"type": "json_object"}, max_tokens=100, temperature=0.0)
        assert answer.finish_reason == "length" or isinstance(json.loads(answer.text), dict)
        answer = llm.generate("The sky is", structured_outputs={"choice": ["blue", "green"]})[0]
        assert answer.text in ("blue", "green")
