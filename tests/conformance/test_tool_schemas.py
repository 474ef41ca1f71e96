"""Schemas of tools that need making ready for the grammar, or can't be held."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from fixtures.served import serve
from fixtures.tool_cases.vocabulary import byte_tokenizer


def tool(name: str, property_schema: dict[str, Any]) -> Any:
    parameters = {"type": "object", "properties": {"x": property_schema}, "required": ["x"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def call_text(value: str) -> str:
    return f'<tool_call>\n{{"name": "held", "arguments": {{"x": {value}}}}}\n</tool_call>'


async def ask(tools: Any, value: str = "1", **fields: Any) -> Any:
    served = serve(byte_tokenizer(()), [call_text(value)], tool_call_parser="hermes")
    messages: Any = [{"role": "user", "content": "Hi"}]
    return await served.client.chat.completions.create(
        model="m", messages=messages, tools=tools, max_tokens=200, **fields
    )


async def test_what_cant_be_held_is_refused_by_name() -> None:
    tools = [tool("held", {"type": "integer"}), tool("loose", {"type": "array", "uniqueItems": True})]
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(tools)
    assert caught.value.param == "tools[1].function.parameters"
    assert "uniqueItems" in caught.value.message


async def test_tools_that_may_not_be_called_need_not_be_held() -> None:
    tools = [tool("held", {"type": "integer"}), tool("loose", {"type": "array", "uniqueItems": True})]
    answer = await ask(tools, tool_choice={"type": "function", "function": {"name": "held"}})
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"x": 1}'


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "string", "format": "date"}, '"2024-02-29"', '"2023-02-29"'),
        ({"type": "string", "pattern": "^\\d+$"}, '"12"', '"\u0663"'),
        ({"items": [{"type": "integer"}, {"type": "string"}]}, '[1, "a"]', '["a", 1]'),
        ({"properties": {"a": {"type": "integer"}}}, '{"a": 1}', '"a"'),
    ],
    ids=["date", "pattern", "items by position", "no type"],
)
async def test_what_grammars_take_otherwise_is_made_ready(schema: dict[str, Any], right: str, wrong: str) -> None:
    answer = await ask([tool("held", schema)], right)
    assert answer.choices[0].message.tool_calls[0].function.arguments == f'{{"x": {right}}}'
    with pytest.raises(openai.InternalServerError, match="may not follow"):  # says the engine that plays texts
        await ask([tool("held", schema)], wrong)
