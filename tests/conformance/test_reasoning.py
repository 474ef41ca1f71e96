"""Every family's thinking, whole and in streams, alone and with what else holds an answer."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.reasoning_cases import CASES, WRITERS, ReasoningCase
from fixtures.served import TEMPLATE, Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.text import reasoning

QUESTION: Any = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
OBJECT = '{"x": 1}'

PLAIN = [case for case in CASES if "to=" not in case.text]


def serve_case(name: str, texts: list[str], *, is_open: bool = False, **settings: Any) -> Served:
    known = reasoning.find(name)
    template = TEMPLATE.replace("model: ", "model: " + known.begin) if is_open else TEMPLATE
    # Marks that are no special tokens in some models of a family are none here.
    return serve(byte_tokenizer(known.special_tokens), texts, template, reasoning_parser=name, **settings)


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": QUESTION, "max_tokens": 1000, **fields}


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.id)
async def test_whole(case: ReasoningCase) -> None:
    served = serve_case(case.format, [case.text], is_open=case.is_open)
    message = (await served.client.chat.completions.create(**asked())).choices[0].message.model_dump()
    assert message["content"] == case.content
    assert message.get("reasoning", "") == message.get("reasoning_content", "") == case.reasoning


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.id)
async def test_stream(case: ReasoningCase) -> None:
    served = serve_case(case.format, [case.text], is_open=case.is_open)
    choices = [chunk["choices"][0] for chunk in await served.chunks(asked(logprobs=True))]
    deltas = [choice["delta"] for choice in choices]
    assert "".join(delta.get("content", "") for delta in deltas) == case.content
    assert "".join(delta.get("reasoning", "") for delta in deltas) == case.reasoning
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == case.reasoning
    assert not any(delta.get("content") and delta.get("reasoning") for delta in deltas)
    assert choices[-1]["finish_reason"] == "stop"
    tokens = [
        bytes(token["bytes"]) for choice in choices if choice["logprobs"] for token in choice["logprobs"]["content"]
    ]
    assert case.text.encode().startswith(b"".join(tokens))
    if "return" not in case.text:
        assert b"".join(tokens) == case.text.encode()


@pytest.mark.parametrize("name", sorted(WRITERS))
async def test_left_out_and_left_in(name: str) -> None:
    begin, end, close = WRITERS[name]
    text = begin + "Hm" + end + "Yes" + close
    served = serve_case(name, [text])
    message = (await served.client.chat.completions.create(**asked(extra_body={"include_reasoning": False}))).choices[0]
    assert (message.message.content, "reasoning" in message.message.model_dump()) == ("Yes", False)
    message = (await served.client.chat.completions.create(**asked(extra_body={"separate_reasoning": False}))).choices[
        0
    ]
    assert message.message.content.startswith(begin + "Hm")
    assert "reasoning" not in message.message.model_dump()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("name", sorted(WRITERS))
async def test_thinking_then_an_object(name: str, is_open: bool, stream: bool) -> None:
    """The guide lets the model think as it likes, and holds what comes behind."""
    begin, end, close = WRITERS[name]
    text = ("" if is_open else begin) + "Is it {1}?" + end + OBJECT + close
    served = serve_case(name, [text], is_open=is_open)
    fields: Any = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in await served.chunks(asked(**fields))]
        content = "".join(delta.get("content", "") for delta in deltas)
        thought = "".join(delta.get("reasoning", "") for delta in deltas)
    else:
        message = (await served.client.chat.completions.create(**asked(**fields))).choices[0].message
        content, thought = message.content, message.reasoning
    assert (content, thought) == (OBJECT, "Is it {1}?")
    assert served.engine.requests[0].start_guide is not None
    served.engine.texts = [text.replace(OBJECT, '{"x": "1"}')]
    answer = await served.http.post("/chat/completions", json=asked(**fields))
    assert answer.status_code == 500, "the guide let a wrong object pass"


@pytest.mark.parametrize("name", sorted(WRITERS))
async def test_an_object_without_thinking(name: str) -> None:
    known = reasoning.find(name)
    text = known.answer_begin + OBJECT + known.answer_end
    served = serve_case(name, [text])
    for fields in ({}, {"reasoning_effort": "none"}):
        answer = await served.client.chat.completions.create(**asked(response_format={"type": "json_object"}, **fields))
        assert answer.choices[0].message.content == OBJECT


@pytest.mark.parametrize("name", sorted(WRITERS))
async def test_tools_beside_thinking(name: str) -> None:
    """Plain answers pass as the family writes them, also where calls could come."""
    begin, end, close = WRITERS[name]
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
    served = serve_case(name, [begin + "Hm" + end + "It's {1}." + close])
    message = (await served.client.chat.completions.create(**asked(tools=tools))).choices[0].message
    assert (message.content, message.reasoning, message.tool_calls) == ("It's {1}.", "Hm", None)


@pytest.mark.parametrize("name", sorted(WRITERS))
async def test_a_budget_of_thinking(name: str) -> None:
    """What the engine gets forces the end; here it is seen that longer thinking doesn't pass."""
    begin, end, close = WRITERS[name]
    served = serve_case(name, [begin + "Hm" + end + "Yes" + close])
    fields: Any = {"extra_body": {"thinking_token_budget": 40}}
    message = (await served.client.chat.completions.create(**asked(**fields))).choices[0].message
    assert (message.content, message.reasoning) == ("Yes", "Hm")
    start = served.engine.requests[0].start_guide
    assert start is not None
    guide, tokenizer, known = start(), served.engine.tokenizer, reasoning.find(name)
    wanted = tokenizer.encode(begin + "H" * 100, add_special_tokens=False)
    said: list[int] = []
    while known.end not in tokenizer.decode(said, skip_special_tokens=False):
        next_ids = guide.forced() or wanted[len(said) : len(said) + 1]
        guide.accept(next_ids)
        said += next_ids
    thought = tokenizer.decode(said, skip_special_tokens=False).removeprefix(known.begin).removesuffix(known.end)
    assert thought.lstrip("\n") == "H" * len(thought.lstrip("\n"))
    assert len(thought) in (39, 40)
