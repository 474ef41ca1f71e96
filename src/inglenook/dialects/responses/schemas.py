"""JSON Schemas of the bodies of the Responses routes, as far as the parser reads values as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.described import Schema, kind_of, nullable, object_of, request_schema
from inglenook.dialects.openai.schemas import SHARED
from inglenook.dialects.responses.requests import (
    INCLUDABLE,
    MAX_METADATA,
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_VALUE_CHARS,
    read_response,
)

_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.:/-]{1,128}$"}
_OPTIONAL_ID = nullable(_ID)
_STATUS = nullable(kind_of("in_progress", "completed", "incomplete"))
_PARTS: Schema = {
    "type": "array",
    "items": object_of(
        ("type", "text"),
        type=kind_of("input_text", "output_text", "text", "summary_text", "reasoning_text"),
        text=_TEXT,
    ),
}
_TEXTS: Schema = {"anyOf": [_TEXT, _PARTS]}


def _item(kind: str, *required: str, **properties: Schema) -> Schema:
    """An item of this type; its id may be left out."""
    return object_of(("type", *required), type=kind_of(kind), **{"id": _OPTIONAL_ID, **properties})


_MESSAGE = object_of(
    ("role", "content"),
    type=nullable(kind_of("message")),
    id=_OPTIONAL_ID,
    status=_STATUS,
    role=kind_of("user", "assistant", "system", "developer"),
    content=_TEXTS,
    phase=nullable(kind_of("commentary", "final_answer")),
)
_CALL = {"call_id": _ID, "name": _ID, "status": _STATUS}
_ITEM: Schema = {
    "anyOf": [
        _MESSAGE,
        _item("function_call", "call_id", "name", "arguments", **_CALL, arguments=_TEXT),
        _item("custom_tool_call", "call_id", "name", "input", **_CALL, input=_TEXT),
        _item("function_call_output", "call_id", "output", call_id=_ID, output=_TEXTS, status=_STATUS),
        _item("custom_tool_call_output", "call_id", "output", call_id=_ID, output=_TEXTS, status=_STATUS),
        _item(
            "reasoning",
            summary=nullable(_PARTS),
            content=nullable(_PARTS),
            status=_STATUS,
            encrypted_content=nullable(_TEXT),
        ),
        _item("item_reference", "id", id=_ID),
    ]
}
_TOOL: Schema = {
    "anyOf": [
        object_of(
            ("type", "name"),
            type=kind_of("function"),
            name=_NAME,
            description=nullable(_TEXT),
            parameters=nullable({"type": "object"}),
            strict=nullable({"type": "boolean"}),
        ),
        object_of(
            ("type", "name"),
            type=kind_of("custom"),
            name=_NAME,
            description=nullable(_TEXT),
            format=nullable(
                {
                    "anyOf": [
                        object_of(type=nullable(kind_of("text"))),
                        object_of(
                            ("type", "syntax", "definition"),
                            type=kind_of("grammar"),
                            syntax=kind_of("regex"),
                            definition=_TEXT,
                        ),
                    ]
                }
            ),
        ),
    ]
}
_NAMED = object_of(("type", "name"), type=kind_of("function", "custom"), name=_TEXT)
_NOT_CHATS = ("response_format", "stream_options")  # of the fields that chats share with completions

FIELDS: Mapping[str, Schema] = {
    **{name: schema for name, schema in SHARED.items() if name not in _NOT_CHATS},
    "input": nullable(_TEXT, {"type": "array", "items": _ITEM, "minItems": 1}),
    "include": nullable({"type": "array", "items": kind_of(*INCLUDABLE)}),
    "tools": nullable({"type": "array", "items": _TOOL}),
    "tool_choice": nullable(
        kind_of("auto", "none", "required"),
        _NAMED,
        object_of(
            ("type", "tools"),
            type=kind_of("allowed_tools"),
            mode=nullable(kind_of("auto", "required")),
            tools={"type": "array", "items": _NAMED, "minItems": 1},
        ),
    ),
    "metadata": nullable(
        {
            "type": "object",
            "maxProperties": MAX_METADATA,
            "propertyNames": {"maxLength": MAX_METADATA_KEY_CHARS},
            "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS},
        }
    ),
    "truncation": nullable(kind_of("auto", "disabled")),
}


def response_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_response(fields, "", 0), [{"input": "Hi"}], FIELDS)
