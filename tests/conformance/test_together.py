"""What requests combine: tools with a constraint, one call at most, several choices, repair."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from fixtures.served import TEMPLATE_WITHOUT_TOOLS, Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.text.tool_formats import registry

QUESTION: Any = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


def start(*texts: str, **settings: Any) -> Served:
    return serve(byte_tokenizer(registry.find("hermes").special_tokens), list(texts), **settings)


async def ask(served: Served, **fields: Any) -> Any:
    return (await served.client.chat.completions.create(model="m", messages=QUESTION, **fields)).choices[0]


async def test_a_call_or_the_format() -> None:
    served = start(CALL, '{"x": 2}', "free text", tool_call_parser="hermes")
    choice = await ask(served, tools=TOOLS, response_format=FORMAT)
    assert choice.message.tool_calls[0].function.arguments == '{"x": 1}'
    assert (await ask(served, tools=TOOLS, response_format=FORMAT)).message.content == '{"x": 2}'
    with pytest.raises(openai.InternalServerError, match="may not follow"):
        await ask(served, tools=TOOLS, response_format=FORMAT)


async def test_required_means_calls_alone() -> None:
    served = start(CALL, "Well: " + CALL, tool_call_parser="hermes")
    assert (await ask(served, tools=TOOLS, tool_choice="required")).finish_reason == "tool_calls"
    with pytest.raises(openai.InternalServerError, match="may not follow"):
        await ask(served, tools=TOOLS, tool_choice="required")


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_one_call_at_most(choice: Any) -> None:
    served = start(CALL + "\n" + CALL, tool_call_parser="hermes")
    assert len((await ask(served, tools=TOOLS, tool_choice=choice)).message.tool_calls) == 2
    with pytest.raises(openai.InternalServerError, match="may not follow"):
        await ask(served, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    served.engine.texts = [CALL]
    assert len((await ask(served, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)).message.tool_calls) == 1


async def test_a_named_tool_and_allowed_ones() -> None:
    tools = [*TOOLS, {"type": "function", "function": {"name": "g", "parameters": SCHEMA}}]
    served = start(CALL, tool_call_parser="hermes")
    named = {"type": "function", "function": {"name": "f"}}
    assert (await ask(served, tools=tools, tool_choice=named)).finish_reason == "stop"
    for choice in (
        {"type": "function", "function": {"name": "g"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tools[1]]}},
    ):
        with pytest.raises(openai.InternalServerError, match="may not follow"):
            await ask(served, tools=tools, tool_choice=choice)
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}}
    assert (await ask(served, tools=tools, tool_choice=choice)).finish_reason == "tool_calls"


async def test_choices_that_end_differently() -> None:
    cut = CALL[: CALL.index(": 1}")]
    served = start(CALL, "Hello", cut, tool_call_parser="hermes")
    num_tokens = len(served.engine.tokenizer.encode(cut, add_special_tokens=False))
    answer = await served.client.chat.completions.create(
        model="m", messages=QUESTION, tools=TOOLS, n=3, max_tokens=num_tokens
    )
    # The first and the third are cut at the same token; only the second ends by itself.
    assert [choice.finish_reason for choice in answer.choices] == ["length", "stop", "length"]
    assert [choice.message.content for choice in answer.choices] == [None, "Hello", None]


async def test_models_that_know_nothing_of_tools() -> None:
    served = start("Sure. " + CALL, template=TEMPLATE_WITHOUT_TOOLS)
    answer = await served.client.chat.completions.create(model="m", messages=QUESTION, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert "knows nothing of tools" in answer.model_extra["warnings"][0]
    prompt = served.engine.tokenizer.decode(served.engine.requests[0].prompt_token_ids)
    assert '"name": "f"' in prompt


@pytest.mark.parametrize("stream", [False, True])
async def test_repair(stream: bool) -> None:
    broken = "Here:\n```json\n{'name': 'A', \"b\": 1, // one\n}\n```"
    served = start(broken)
    fields: Any = {"model": "m", "messages": QUESTION, "repair_keys": ["Name"]}
    if stream:
        chunks = await served.chunks(fields)
        pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
        [content] = [piece for piece in pieces if piece]
    else:
        content = (await ask(served, extra_body={"repair_keys": ["Name"]})).message.content
    assert json.loads(content) == {"Name": "A", "b": 1}


async def test_repair_of_all_answers() -> None:
    served = start("{'a': 1,}", repair_output=True)
    assert json.loads((await ask(served)).message.content) == {"a": 1}
    assert (await ask(served, extra_body={"repair": False})).message.content == "{'a': 1,}"
    answer = await served.client.completions.create(model="m", prompt="x")
    assert answer.choices[0].text == "{'a': 1,}"[:16] or json.loads(answer.choices[0].text) == {"a": 1}


async def test_the_older_route() -> None:
    served = start('{"x": 1}', "free")
    extra: Any = {"guided_json": SCHEMA}
    answer = await served.client.completions.create(model="m", prompt="x", extra_body=extra, max_tokens=50)
    assert answer.choices[0].text == '{"x": 1}'
    with pytest.raises(openai.InternalServerError, match="may not follow"):
        await served.client.completions.create(model="m", prompt="x", extra_body=extra, max_tokens=50)


@pytest.mark.parametrize(
    ("fields", "is_warned"),
    [
        ({"reasoning_effort": "low"}, True),
        ({"extra_body": {"thinking_token_budget": 9}}, True),
        ({"reasoning_effort": "none"}, False),
        ({}, False),
    ],
)
async def test_thinking_that_cant_be_asked_for_is_a_warning(fields: dict[str, Any], is_warned: bool) -> None:
    served = start("Hello.")
    answer = await served.client.chat.completions.create(model="m", messages=QUESTION, **fields)
    warnings = (answer.model_extra or {}).get("warnings", [])
    assert any("thinks" in warning for warning in warnings) == is_warned
    thinking = start("Hello.", reasoning_parser="deepseek_r1")
    answer = await thinking.client.chat.completions.create(model="m", messages=QUESTION, **fields)
    assert "warnings" not in (answer.model_extra or {})
