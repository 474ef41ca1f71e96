"""Structured output by the real default model."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import openai
import pydantic
import pytest
from jsonschema import validate

from fixtures.server_process import Server

MODEL = "smollm2:135m"
QUESTION: Any = [{"role": "user", "content": "Tell me about a person."}]
SCHEMA: Any = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


def ask(server: Server, **fields: Any) -> Any:
    known = {name: fields.pop(name) for name in ("stream", "response_format") if name in fields}
    return server.client().chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=200, seed=3, temperature=1.5, **known, extra_body=fields
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}},
        {"structured_outputs": {"json": SCHEMA}},
        {"guided_json": SCHEMA},
        {"json_schema": SCHEMA},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_schemas(server: Server, fields: dict[str, Any]) -> None:
    whole = ask(server, **fields).choices[0]
    assert whole.finish_reason == "stop"
    validate(json.loads(whole.message.content), SCHEMA)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in ask(server, **fields, stream=True))
    assert text == whole.message.content


def test_json_object(server: Server) -> None:
    choice = ask(server, response_format={"type": "json_object"}).choices[0]
    assert choice.message.content.startswith("{")
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict)


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"structured_outputs": {"regex": r"[a-c]{3}-\d{2}"}}, r"[a-c]{3}-\d{2}"),
        ({"regex": r"\d{1,3} (cats|dogs)"}, r"\d{1,3} (cats|dogs)"),
        ({"guided_choice": ["yes", "no"]}, "yes|no"),
        ({"structured_outputs": {"grammar": 'start: "x" /[0-9]{2}/ "y"'}}, r"x\d\dy"),
        ({"grammar": 'root ::= "a" [0-9] [0-9] "b"'}, r"a\d\db"),
    ],
)
def test_texts(server: Server, fields: dict[str, Any], pattern: str) -> None:
    choice = ask(server, **fields).choices[0]
    assert re.fullmatch(pattern, choice.message.content)
    assert choice.finish_reason == "stop"


def test_on_the_older_route_with_several_choices_and_logprobs(server: Server) -> None:
    answer = server.client().completions.create(
        model=MODEL,
        prompt="A person:",
        n=3,
        seed=1,
        max_tokens=150,
        logprobs=1,
        extra_body={"guided_json": SCHEMA},
    )
    for choice in answer.choices:
        validate(json.loads(choice.text), SCHEMA)
        assert "".join(choice.logprobs.tokens) == choice.text
        assert all(-10_000 < value <= 0 for value in choice.logprobs.token_logprobs)


def test_parse_helper(server: Server) -> None:
    class Person(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=20)
        age: int = pydantic.Field(ge=0, le=120)

    answer = server.client().chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Person, max_tokens=200, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Person)


def nested(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}
    return schema


HOSTILE: dict[str, Any] = {
    "nested": json.dumps(nested(80)),
    "nested deeply": '{"type":"array","items":' * 10_000 + "true" + "}" * 10_000,
    "recursive reference": {"$ref": "#"},
    "huge enum": {"enum": ["x" * 50 + str(i) for i in range(200_000)]},
    "exponential pattern": {"type": "string", "pattern": "((((a{0,99}){0,99}){0,99}){0,99}){0,99}b"},
    "huge bounds": {"type": "array", "items": {"type": "array", "minItems": 10**6}, "minItems": 10**6},
    "wrong type": {"type": 123},
    "unknown keyword": {"type": "string", "contentEncoding": "base64", "$dynamicRef": "#x"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_are_refused_while_a_stream_goes_on(server: Server, name: str) -> None:
    """And harm nobody else: the stream comes to its end, and a later request is served."""
    reasons: list[str | None] = []
    started = threading.Event()

    def read() -> None:
        stream = server.client().completions.create(
            model=MODEL, prompt="Count: one, two,", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
        )
        for chunk in stream:
            reasons.append(chunk.choices[0].finish_reason)
            started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(30)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, guided_json=HOSTILE[name])
    assert caught.value.param == "guided_json"
    assert len(caught.value.message) < 1000
    reader.join()
    assert reasons[-1] == "length"
    assert ask(server, guided_choice=["yes", "no"]).choices[0].message.content in ("yes", "no")
