"""Structured output and reasoning, in the words of every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inglenook.dialects.openai.requests import parse_chat, parse_completion
from inglenook.errors import InvalidRequestError
from inglenook.types import ChatRequest, Constraint, GenerateRequest, ReasoningOptions

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TAG = {"type": "structural_tag", "format": {"type": "any_text"}}
WRAPPED = "response_format.json_schema.schema"


def both(**fields: Any) -> list[GenerateRequest]:
    chat = parse_chat(json.dumps({"messages": [{"role": "user", "content": "Hi"}], **fields}).encode(), "id-1")
    older = parse_completion(json.dumps({"prompt": "Hi", **fields}).encode(), "id-1")
    assert chat.unknown_fields == older.unknown_fields == ()
    return [chat.request, older.request]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, ("json_object", None, "response_format")),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            ("json_schema", SCHEMA, "response_format.schema"),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
            ("json_schema", SCHEMA, WRAPPED),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": True, "strict": True}}},
            ("json_schema", True, WRAPPED),
        ),
        (
            {"response_format": {"type": "json_schema", "schema": SCHEMA}},
            ("json_schema", SCHEMA, "response_format.schema"),
        ),
        ({"response_format": TAG}, ("structural_tag", TAG, "response_format")),
        ({"structured_outputs": {}}, None),
        ({"structured_outputs": {"json": SCHEMA}}, ("json_schema", SCHEMA, "structured_outputs.json")),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, ("json_schema", SCHEMA, "structured_outputs.json")),
        (
            {"structured_outputs": {"json_object": True, "disable_any_whitespace": True, "whitespace_pattern": None}},
            ("json_object", None, "structured_outputs.json_object"),
        ),
        ({"structured_outputs": {"regex": "a+", "json": None}}, ("regex", "a+", "structured_outputs.regex")),
        ({"structured_outputs": {"choice": ["a", "b"]}}, ("choice", ("a", "b"), "structured_outputs.choice")),
        ({"structured_outputs": {"grammar": "g"}}, ("grammar", "g", "structured_outputs.grammar")),
        (
            {"structured_outputs": {"structural_tag": json.dumps(TAG)}},
            ("structural_tag", TAG, "structured_outputs.structural_tag"),
        ),
        ({"guided_json": SCHEMA}, ("json_schema", SCHEMA, "guided_json")),
        ({"guided_json": "true", "guided_decoding_backend": "auto"}, ("json_schema", True, "guided_json")),
        ({"guided_json_object": True}, ("json_object", None, "guided_json_object")),
        ({"guided_regex": "a"}, ("regex", "a", "guided_regex")),
        ({"guided_choice": ["a"]}, ("choice", ("a",), "guided_choice")),
        ({"guided_grammar": "g"}, ("grammar", "g", "guided_grammar")),
        ({"regex": "a"}, ("regex", "a", "regex")),
        ({"ebnf": "g"}, ("grammar", "g", "ebnf")),
        ({"grammar": "g"}, ("grammar", "g", "grammar")),
        ({"json_schema": SCHEMA}, ("json_schema", SCHEMA, "json_schema")),
        ({"structural_tag": TAG}, ("structural_tag", TAG, "structural_tag")),
        ({"guided_regex": "", "guided_choice": [], "grammar": "", "json_schema": {}, "structural_tag": ""}, None),
    ],
)
def test_constraints(fields: dict[str, Any], expected: tuple[Any, Any, str] | None) -> None:
    for request in both(**fields):
        assert request.constraint == (None if expected is None else Constraint(*expected))


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"response_format": "json"}, "response_format", "an object with a type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "'xml'"),
        ({"response_format": {"type": 5}}, "response_format.type", "expected a string"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, WRAPPED, "missing"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}, WRAPPED, "a JSON Schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": "hiccup"}}}, WRAPPED, "valid JSON"),
        ({"structured_outputs": []}, "structured_outputs", "an object"),
        ({"structured_outputs": {"whitespace_pattern": " *"}}, "structured_outputs.whitespace_pattern", "supported"),
        ({"structured_outputs": {"disable_any_whitespace": True}}, "structured_outputs", "none of"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs.choice", "Several"),
        ({"guided_json": SCHEMA, "response_format": {"type": "json_object"}}, "guided_json", "Several"),
        ({"guided_json": "{"}, "guided_json", "valid JSON"),
        ({"guided_json": "[" * 100_000}, "guided_json", "too deeply"),
        ({"guided_json": [1]}, "guided_json", "a JSON Schema"),
        ({"guided_regex": 5}, "guided_regex", "expected a string"),
        ({"guided_choice": "a"}, "guided_choice", "a list of strings"),
        ({"guided_choice": ["a", 5]}, "guided_choice[1]", "expected a string"),
        ({"guided_choice": ["a", ""]}, "guided_choice", "empty"),
        ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern", "not supported"),
        ({"structural_tag": 5}, "structural_tag", "an object"),
    ],
)
def test_bad_constraints_are_named(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        both(**fields)
    assert caught.value.param == param
    assert words in caught.value.message
    assert len(caught.value.message) < 300


# --- reasoning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"reasoning_effort": "high"}, {"effort": "high", "is_enabled": True}),
        ({"reasoning_effort": "none"}, {"is_enabled": False}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"effort": "low", "is_enabled": True}),
        (
            {"reasoning": {"enabled": True, "max_tokens": 9, "exclude": True}},
            {"is_enabled": True, "max_tokens": 9, "is_included": False},
        ),
        ({"enable_thinking": False}, {"is_enabled": False}),
        ({"thinking": True}, {"is_enabled": True}),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, {"is_enabled": True, "max_tokens": 5}),
        ({"thinking": {"type": "disabled"}}, {"is_enabled": False}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"thinking_token_budget": 0}, {"max_tokens": 0}),
        ({"thinking_token_budget": -1}, {}),
        ({"include_reasoning": False}, {"is_included": False}),
        ({"separate_reasoning": False}, {"is_separate": False}),
        ({"reasoning_format": "none"}, {"is_separate": False}),
        ({"reasoning_format": "deepseek"}, {}),
        ({"reasoning_format": "hidden"}, {"is_included": False}),
        ({"chat_template_kwargs": {"enable_thinking": False}}, {"is_enabled": False}),
        ({"chat_template_kwargs": {"thinking": True}, "enable_thinking": False}, {"is_enabled": True}),
    ],
)
def test_reasoning(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], **fields}
    request = parse_chat(json.dumps(body).encode(), "id-1").request
    assert isinstance(request, ChatRequest)
    assert request.reasoning == ReasoningOptions(**expected)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": "high"}, "reasoning"),
        ({"thinking": "yes"}, "thinking"),
        ({"thinking": {"type": "x"}}, "thinking.type"),
        ({"thinking": {"budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"thinking_token_budget": -2}, "thinking_token_budget"),
        ({"reasoning_format": "x"}, "reasoning_format"),
        ({"stream_reasoning": "x"}, "stream_reasoning"),
    ],
)
def test_bad_reasoning_is_named(fields: dict[str, Any], param: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], **fields}
    with pytest.raises(InvalidRequestError) as caught:
        parse_chat(json.dumps(body).encode(), "id-1")
    assert caught.value.param == param
