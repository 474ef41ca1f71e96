"""JSON Schemas of what the parsers of OpenAI's routes read as it is: messages, tools, constraints, prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.described import STRINGS, Schema, request_schema
from inglenook.dialects.described import kind_of as _kind
from inglenook.dialects.described import nullable as _one_of
from inglenook.dialects.described import object_of as _object
from inglenook.dialects.openai.requests import read_chat, read_completion
from inglenook.dialects.tokenization import read_detokenize, read_tokenize
from inglenook.types import MAX_PATTERN_SIZE

_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}

_FUNCTION_NAME = _object(("name",), name=_TEXT)
_FUNCTION = _object(
    ("name",),
    name=_TEXT,
    description=_one_of(_TEXT),
    parameters=_one_of({"type": ["object", "boolean"]}),
    strict=_one_of({"type": "boolean"}),
)
_CALL = _object(
    ("function",),
    id=_one_of(_TEXT),
    type=_one_of(_kind("function")),
    function=_object(("name",), name=_TEXT, arguments=_one_of(_TEXT, _OBJECT)),
)
_CONTENT = _one_of(_TEXT, {"type": "array", "items": _object(("type", "text"), type=_kind("text"), text=_TEXT)})
MESSAGES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": _object(
        ("role",),
        role={"type": "string", "minLength": 1},
        content=_CONTENT,
        name=_one_of(_TEXT),
        tool_calls=_one_of({"type": "array", "items": _CALL}),
        tool_call_id=_one_of(_TEXT),
        function_call=_one_of(_object(("name",), name=_TEXT, arguments=_one_of(_TEXT, _OBJECT))),
    ),
}
_TOKEN_IDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_NAMED_TOOL = _object(("type", "function"), type=_kind("function"), function=_FUNCTION_NAME)

SHARED: Mapping[str, Schema] = {
    "samplers": STRINGS,
    "logit_bias": _one_of({"type": "object", "additionalProperties": {"type": "number"}}),
    "response_format": _one_of(
        _object(("type",), type=_kind("text", "json_object")),
        _object(
            ("type", "json_schema"),
            type=_kind("json_schema"),
            json_schema=_object(("schema",), name=_TEXT, schema=_OBJECT, strict=_one_of({"type": "boolean"})),
        ),
        _object(("type", "schema"), type=_kind("json_schema"), schema=_OBJECT),  # llama.cpp's
        _object(("type", "value"), type=_kind("json"), value=_OBJECT),  # Text Generation Inference's
        _object(("type", "value"), type=_kind("regex"), value=_TEXT),
        _object(("type",), type=_kind("structural_tag")),
        {"type": "object", "maxProperties": 0},  # none
    ),
    "structured_outputs": _one_of(
        _object(
            json=_one_of(_TEXT, _OBJECT, {"type": "boolean"}),
            json_object={"type": ["boolean", "null"]},
            regex=_one_of(_TEXT),
            choice=_one_of({"type": "array", "items": _TEXT}),
            grammar=_one_of(_TEXT),
            structural_tag=_one_of(_TEXT, _OBJECT),
        )
    ),
    "stream_options": _one_of(
        _object(include_usage=_one_of({"type": "boolean"}), continuous_usage_stats=_one_of({"type": "boolean"}))
    ),
    "allowed_token_ids": _one_of(_TOKEN_IDS),
    "repetition_detection": _one_of(
        _object(
            max_pattern_size=_one_of({"type": "integer", "minimum": 0, "maximum": MAX_PATTERN_SIZE}),
            min_pattern_size=_one_of({"type": "integer", "minimum": 0}),
            min_count=_one_of({"type": "integer"}),
        )
    ),
}
CHAT: Mapping[str, Schema] = {
    **SHARED,
    "messages": MESSAGES,
    "documents": _one_of({"type": "array", "items": _OBJECT}),
    "tools": _one_of(
        {"type": "array", "items": _object(("type", "function"), type=_kind("function"), function=_FUNCTION)}
    ),
    "tool_choice": _one_of(
        _kind("auto", "none", "required"),
        _NAMED_TOOL,
        _object(
            ("type", "allowed_tools"),
            type=_kind("allowed_tools"),
            allowed_tools=_object(mode=_kind("auto", "required"), tools={"type": "array", "items": _NAMED_TOOL}),
        ),
    ),
    "functions": _one_of({"type": "array", "items": _FUNCTION}),
    "function_call": _one_of(_kind("auto", "none"), _FUNCTION_NAME),
    "thinking": _one_of({"type": "boolean"}, _object(type=_kind("enabled", "disabled", "adaptive"))),
}
COMPLETION: Mapping[str, Schema] = {
    **SHARED,
    "prompt": {
        "anyOf": [
            _TEXT,
            _TOKEN_IDS,
            {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT, _TOKEN_IDS]}},
        ]
    },
}

_MESSAGE_EXAMPLE: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


def chat_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_chat(fields, ""), [_MESSAGE_EXAMPLE], CHAT)


def completion_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_completion(fields, ""), [{"prompt": "Hi"}], COMPLETION)


def tokenize_schema() -> dict[str, Any]:
    examples = [_MESSAGE_EXAMPLE, {"prompt": "Hi"}, {"content": "Hi"}, {"inputs": "Hi"}]
    return request_schema(read_tokenize, examples, CHAT)


def detokenize_schema() -> dict[str, Any]:
    return request_schema(read_detokenize, [{"tokens": [1]}], {"tokens": {**_TOKEN_IDS, "minItems": 0}})
