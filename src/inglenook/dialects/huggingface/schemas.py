"""JSON Schemas of the bodies of Text Generation Inference's routes, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.described import Schema, request_schema
from inglenook.dialects.huggingface.requests import read_generate, read_parameters
from inglenook.dialects.pooling.schemas import INPUT

_GRAMMAR: Schema = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"type": {"enum": ["json", "json_object", "json_schema"]}, "value": {"type": "object"}},
            "required": ["type", "value"],
        },
        {
            "type": "object",
            "properties": {"type": {"enum": ["regex"]}, "value": {"type": "string"}},
            "required": ["type", "value"],
        },
        {"type": "object", "maxProperties": 0},  # none
        {"type": "null"},
    ]
}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1}


def parameters_schema() -> dict[str, Any]:
    return {**request_schema(read_parameters, [{}], {"grammar": _GRAMMAR}), "type": ["object", "null"]}


def generate_schema() -> dict[str, Any]:
    known: dict[str, Schema] = {
        "inputs": {"type": "string", "minLength": 1},
        "parameters": parameters_schema(),
    }
    return request_schema(
        lambda fields: read_generate(fields, "", model="", is_compat=False), [{"inputs": "Hi"}], known
    )


def compat_schema() -> dict[str, Any]:
    """What an embedding model takes as inputs stands here, too: which it is, the model decides."""
    schema = generate_schema()
    similarity: Schema = {
        "type": "object",
        "properties": {"source_sentence": {"type": "string"}, "sentences": _TEXTS},
        "required": ["source_sentence", "sentences"],
    }
    inputs = {"anyOf": [schema["properties"]["inputs"], INPUT, similarity]}
    return {**schema, "properties": {**schema["properties"], "inputs": inputs, "model": {"type": ["string", "null"]}}}
