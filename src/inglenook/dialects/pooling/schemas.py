"""JSON Schemas of what requests for vectors and scores hold as it is: texts, in all their forms."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.described import Schema, request_schema
from inglenook.dialects.pooling.embeddings import MAX_INPUTS, read_embedding
from inglenook.dialects.pooling.ranking import MAX_TEXTS, SIDES, read_rerank, read_score

_TEXT: Schema = {"type": "string"}
_TOKEN_IDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_INPUT: Schema = {
    "anyOf": [
        _TEXT,
        _TOKEN_IDS,
        {"type": "array", "items": {"anyOf": [_TEXT, _TOKEN_IDS]}, "minItems": 1, "maxItems": MAX_INPUTS},
    ]
}
_ITEM: Schema = {"anyOf": [_TEXT, {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}]}
_TEXTS: Schema = {"anyOf": [_ITEM, {"type": "array", "items": _ITEM, "minItems": 1, "maxItems": MAX_TEXTS}]}
_TRUNCATE: Schema = {"enum": [True, False, "NONE", "START", "END", None]}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def embedding_schema() -> dict[str, Any]:
    names = ("input", "inputs", "content")
    known = {**dict.fromkeys(names, _or_null(_INPUT)), "truncate": _TRUNCATE}
    return request_schema(lambda fields: read_embedding(fields, ""), [{name: "Hi"} for name in names], known)


def rerank_schema() -> dict[str, Any]:
    known = {"documents": _or_null(_TEXTS), "texts": _or_null(_TEXTS), "truncate": _TRUNCATE}
    examples = [{"query": "Hi", "documents": ["a"]}, {"query": "Hi", "texts": ["a"]}]
    return request_schema(lambda fields: read_rerank(fields, ""), examples, known)


def score_schema() -> dict[str, Any]:
    known = {name: _or_null(_TEXTS) for pair in SIDES for name in pair} | {"truncate": _TRUNCATE}
    return request_schema(lambda fields: read_score(fields, ""), [{a: "Hi", b: ["a"]} for a, b in SIDES], known)
