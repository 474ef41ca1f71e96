"""JSON Schemas of the bodies of the llama.cpp server's routes, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.described import STRINGS, Schema, nullable, object_of, request_schema
from inglenook.dialects.llama_cpp.requests import read_completion, read_infill

_TEXT: Schema = {"type": "string"}
_BIAS: Schema = {"anyOf": [{"type": "number"}, {"enum": [False]}]}
_TOKEN: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, _TEXT]}
_ONE: Schema = {"type": "array", "items": _TOKEN, "minItems": 1}
_OBJECT: Schema = object_of(prompt_string=_TEXT)
_PROMPT: Schema = {
    "anyOf": [_TEXT, _OBJECT, _ONE, {"type": "array", "items": {"anyOf": [_TEXT, _OBJECT, _ONE]}, "minItems": 1}]
}
_SHARED: dict[str, Schema] = {
    "logit_bias": nullable(
        {"type": "array", "items": {"type": "array", "prefixItems": [_TOKEN, _BIAS], "minItems": 2, "maxItems": 2}},
        {"type": "object", "additionalProperties": _BIAS},
    ),
    "samplers": STRINGS,
    "json_schema": nullable(_TEXT, {"type": ["object", "boolean"]}),
}
_FILE = object_of(filename={"type": ["string", "null"]}, text={"type": ["string", "null"]})


def completion_schema() -> dict[str, Any]:
    return request_schema(
        lambda fields: read_completion(fields, ""), [{"prompt": "Hi"}], {**_SHARED, "prompt": _PROMPT}
    )


def infill_schema() -> dict[str, Any]:
    return request_schema(
        lambda fields: read_infill(fields, ""),
        [{"input_prefix": "a", "input_suffix": "b"}],
        {**_SHARED, "input_extra": nullable({"type": "array", "items": _FILE})},
    )
