"""JSON Schemas of what the parser of Anthropic's requests reads as it is: messages, tools, formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.anthropic.requests import read_messages
from inglenook.dialects.described import Schema, kind_of, nullable, object_of, request_schema

_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_TRUTH: Schema = {"type": ["boolean", "null"]}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_TEXT_BLOCK = object_of(("type", "text"), type=kind_of("text"), text=_TEXT)
_TEXTS: Schema = {"anyOf": [_TEXT, _list(_TEXT_BLOCK)]}
_RESULT = object_of(
    ("type", "tool_use_id"),
    type=kind_of("tool_result"),
    tool_use_id=_NAME,
    content=nullable(_TEXT, _list(_TEXT_BLOCK)),
    is_error=_TRUTH,
)
_CALL = object_of(("type", "id", "name", "input"), type=kind_of("tool_use"), id=_NAME, name=_NAME, input=_OBJECT)
_THINKING = object_of(("type", "thinking"), type=kind_of("thinking"), thinking=_TEXT, signature=nullable(_TEXT))
_UNREADABLE = object_of(("type",), type=kind_of("redacted_thinking"))
_MESSAGE: Schema = {
    "anyOf": [
        object_of(
            ("role", "content"),
            role=kind_of("user"),
            content={"anyOf": [_TEXT, _list({"anyOf": [_TEXT_BLOCK, _RESULT]})]},
        ),
        object_of(
            ("role", "content"),
            role=kind_of("assistant"),
            content={"anyOf": [_TEXT, _list({"anyOf": [_TEXT_BLOCK, _CALL, _THINKING, _UNREADABLE]})]},
        ),
        object_of(("role", "content"), role=kind_of("system"), content=_TEXTS),
    ]
}
_FORMAT: Schema = {
    "anyOf": [
        object_of(("type", "schema"), type=kind_of("json_schema"), schema=_OBJECT),
        {"type": "object", "maxProperties": 0},  # none
    ]
}
_CHOICE = object_of(type=kind_of("auto", "any", "tool", "none"), name=nullable(_TEXT), disable_parallel_tool_use=_TRUTH)
_THOUGHT = object_of(
    type=kind_of("enabled", "disabled", "adaptive", "between_tools"),
    budget_tokens=nullable({"type": "integer", "minimum": 1}),
    display=nullable(kind_of("summarized", "omitted")),
)
_EFFORT = nullable(kind_of("low", "medium", "high", "xhigh", "max"))
_TOOL = object_of(
    ("name", "input_schema"),
    type=nullable(kind_of("custom")),
    name=_NAME,
    description=nullable(_TEXT),
    input_schema=object_of(type=kind_of("object")),
    strict=_TRUTH,
)

_KNOWN: Mapping[str, Schema] = {
    "messages": {**_list(_MESSAGE), "minItems": 1},
    "system": nullable(_TEXTS),
    "stop_sequences": nullable(_list(_NAME)),
    "tools": nullable(_list(_TOOL)),
    "tool_choice": nullable(_CHOICE),
    "thinking": nullable(_THOUGHT),
    "output_config": nullable(object_of(effort=_EFFORT, format=nullable(_FORMAT))),
    "output_format": nullable(_FORMAT),
    "service_tier": nullable(kind_of("auto", "standard_only")),
    "context_management": nullable(object_of(edits=nullable(_list(object_of(("type",), type=_TEXT))))),
}
_EXAMPLE: dict[str, Any] = {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}


def messages_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_messages(fields, ""), [_EXAMPLE], _KNOWN)


def count_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_messages(fields, "", needs_max_tokens=False), [_EXAMPLE], _KNOWN)
