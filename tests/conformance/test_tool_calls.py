"""Every family's calls, whole and in streams, as a client gets them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fixtures.served import Served, serve
from fixtures.tool_cases import TOOLS, ToolCase, all_cases, canonical_cases
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.text.tool_formats import registry
from inglenook.text.tool_formats.schemas import arguments_schema

DEFINITIONS: Any = [dict(tool.definition) for tool in TOOLS]
QUESTION: Any = [{"role": "user", "content": "Hi"}]
WITH_CALLS = [case for case in canonical_cases() if case.calls and not case.is_cut]


def serve_case(case: ToolCase, **settings: Any) -> Served:
    tokenizer = byte_tokenizer(registry.find(case.format).special_tokens)
    served = serve(tokenizer, [case.text], tool_call_parser=case.format, **settings)
    served.engine.is_guided = case.is_canonical
    return served


def asked(served: Served, case: ToolCase, **fields: Any) -> dict[str, Any]:
    num_tokens = len(served.engine.tokenizer.encode(case.text, add_special_tokens=False))
    max_tokens = num_tokens if case.is_cut else num_tokens + 50
    return {"model": "m", "messages": QUESTION, "tools": DEFINITIONS, "max_tokens": max_tokens, **fields}


def check(choice: Any, case: ToolCase, reason: str = "tool_calls") -> None:
    """A choice of the official client against what the case has."""
    calls = choice.message.tool_calls or []
    assert (choice.message.content or "") == case.content
    assert [(call.function.name, call.function.arguments) for call in calls] == list(case.calls)
    is_whole = bool(case.calls) and is_json(case.calls[-1][1])
    assert choice.finish_reason == ("length" if case.is_cut else reason if is_whole else "stop")
    ids = [call.id for call in calls]
    assert len(set(ids)) == len(ids) and all(len(i) >= 9 for i in ids) and {c.type for c in calls} <= {"function"}
    if case.is_canonical and not case.is_cut:
        for call in calls:
            tool = next(tool for tool in TOOLS if tool.name == call.function.name)
            Draft202012Validator(arguments_schema(tool)).validate(json.loads(call.function.arguments))


def is_json(text: str) -> bool:
    """Whatever the guide doesn't hold may leave arguments broken; such an answer doesn't say that it calls."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def check_shape(chunks: list[Any]) -> None:
    """OpenAI's: the role first and once, ids and names once and whole, calls in order, one finish reason at the end."""
    choices = [chunk["choices"][0] for chunk in chunks]
    deltas = [choice["delta"] for choice in choices]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert not any("role" in delta for delta in deltas[1:])
    assert [choice["finish_reason"] is not None for choice in choices] == [False] * (len(choices) - 1) + [True]
    assert deltas[-1] == {}
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", [])]
    opened = -1
    for piece in pieces:
        if "id" in piece:
            opened += 1
            assert piece.keys() == {"index", "id", "type", "function"}
            assert piece["function"].keys() == {"name", "arguments"} and piece["function"]["arguments"] == ""
        else:
            assert piece.keys() == {"index", "function"}
            assert piece["function"].keys() == {"arguments"} and piece["function"]["arguments"]
        assert type(piece["index"]) is int and piece["index"] == opened


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
async def test_whole(case: ToolCase) -> None:
    served = serve_case(case)
    answer = await served.client.chat.completions.create(**asked(served, case))
    check(answer.choices[0], case)
    assert (answer.choices[0].message.content is None) == (bool(case.calls) and not case.content)
    assert answer.usage.completion_tokens >= len(served.engine.tokenizer.encode(case.text, add_special_tokens=False))


@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
async def test_stream(case: ToolCase, step: int) -> None:
    """Byte by byte, since the vocabulary has nothing longer than the families' marks; and several at a time."""
    served = serve_case(case, step=step)
    async with served.client.chat.completions.stream(**asked(served, case)) as stream:
        async for _ in stream:
            pass
        if case.is_cut:
            with pytest.raises(Exception, match="length"):
                await stream.get_final_completion()
            check(stream.current_completion_snapshot.choices[0], case)
        else:
            check((await stream.get_final_completion()).choices[0], case)
    check_shape(await served.chunks(asked(served, case)))


@pytest.mark.parametrize("case", WITH_CALLS, ids=lambda case: case.id)
async def test_no_token_is_lost(case: ToolCase) -> None:
    served = serve_case(case)
    chunks = await served.chunks(asked(served, case, logprobs=True))
    logprobs = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    tokens = [bytes(token["bytes"]) for entry in logprobs if entry for token in entry["content"]]
    assert b"".join(tokens) == case.text.encode()


@pytest.mark.parametrize("case", WITH_CALLS, ids=lambda case: case.id)
async def test_none_means_none(case: ToolCase) -> None:
    served = serve_case(case)
    answer = await served.client.chat.completions.create(**asked(served, case, tool_choice="none"))
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", registry.names())
async def test_the_older_form(name: str, stream: bool) -> None:
    case = next(case for case in WITH_CALLS if case.format == name and len(case.calls) == 1)
    served = serve_case(case)
    body = asked(served, case, functions=[tool["function"] for tool in DEFINITIONS])
    del body["tools"]
    if stream:
        chunks = [chunk async for chunk in await served.client.chat.completions.create(**body, stream=True)]
        pieces = [chunk.choices[0].delta.function_call for chunk in chunks]
        found = (
            "".join(piece.name or "" for piece in pieces if piece),
            "".join(piece.arguments or "" for piece in pieces if piece),
        )
        reason = chunks[-1].choices[0].finish_reason
    else:
        choice = (await served.client.chat.completions.create(**body)).choices[0]
        found = (choice.message.function_call.name, choice.message.function_call.arguments)
        reason = choice.finish_reason
    assert found == case.calls[0]
    assert reason == "function_call"


async def test_each_choice_has_its_own_parser() -> None:
    cases = [case for case in WITH_CALLS if case.format == "hermes"][:2]
    served = serve_case(cases[0])
    served.engine.texts = [case.text for case in cases]
    body = asked(served, cases[0], n=2, max_tokens=1000)
    async with served.client.chat.completions.stream(**body) as stream:
        final = await stream.get_final_completion()
    for choice, case in zip(final.choices, cases, strict=True):
        check(choice, case)
