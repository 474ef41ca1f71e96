"""JSON Schemas of what the parsers of Ollama's requests read as it is: messages, tools, options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.described import Schema, kind_of, nullable, object_of, request_schema
from inglenook.dialects.ollama.options import read_options
from inglenook.dialects.ollama.requests import (
    read_chat,
    read_embed,
    read_embeddings,
    read_generate,
    read_pull,
    read_show,
)
from inglenook.dialects.openai.schemas import CHAT

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_OBJECT: Schema = {"type": "object"}
_LIST_OF_NONE: Schema = {"type": "array", "maxItems": 0}
_MESSAGE = object_of(
    ("role",),
    role=_NAME,
    content=nullable(_TEXT),
    thinking=nullable(_TEXT),
    images=nullable(_LIST_OF_NONE),
    tool_name=nullable(_TEXT),
    tool_call_id=nullable(_TEXT),
    tool_calls=nullable(
        {
            "type": "array",
            "items": object_of(
                ("function",),
                id=nullable(_TEXT),
                function=object_of(("name",), name=_NAME, arguments=nullable(_TEXT, _OBJECT)),
            ),
        }
    ),
)


def options_schema() -> dict[str, Any]:
    return request_schema(lambda options: read_options(options, None), [{}], {})


_SHARED: Mapping[str, Schema] = {
    "model": nullable(_TEXT),
    "format": nullable(kind_of("json", ""), _OBJECT),
    "options": nullable(options_schema()),
    "think": nullable({"type": "boolean"}, kind_of("low", "medium", "high", "max", "")),
    "keep_alive": nullable(_TEXT, {"type": "number"}),
}
_CHAT: Mapping[str, Schema] = {
    **_SHARED,
    "messages": nullable({"type": "array", "items": _MESSAGE}),
    "tools": CHAT["tools"],
}
_GENERATE: Mapping[str, Schema] = {**_SHARED, "images": nullable(_LIST_OF_NONE)}
_EMBED: Mapping[str, Schema] = {"keep_alive": _SHARED["keep_alive"]}
_TEXTS: Schema = nullable(_TEXT, {"type": "array", "items": _TEXT})


def chat_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_chat(fields, ""), [{"model": "m"}], _CHAT)


def generate_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_generate(fields, ""), [{"model": "m", "prompt": "Hi"}], _GENERATE)


def embed_schema() -> dict[str, Any]:
    example = {"model": "m", "input": "Hi"}
    return request_schema(lambda fields: read_embed(fields, ""), [example], {**_EMBED, "input": _TEXTS})


def embeddings_schema() -> dict[str, Any]:
    return request_schema(lambda fields: read_embeddings(fields, ""), [{"model": "m"}], _EMBED)


def show_schema() -> dict[str, Any]:
    return request_schema(read_show, [{"model": "m"}], {})


def pull_schema() -> dict[str, Any]:
    return request_schema(read_pull, [{"model": "m"}], {})
