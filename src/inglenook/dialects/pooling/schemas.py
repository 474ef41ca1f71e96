"""JSON Schemas of what requests for vectors and scores hold as it is: texts, in all their forms."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.described import Schema, nullable, object_of, request_schema
from inglenook.dialects.pooling.classes import read_classify
from inglenook.dialects.pooling.cohere import EMBEDDING_TYPES, read_cohere
from inglenook.dialects.pooling.embeddings import read_embedding
from inglenook.dialects.pooling.fields import MAX_INPUTS, read_shared
from inglenook.dialects.pooling.ranking import SIDES, read_rerank, read_score
from inglenook.dialects.pooling.tasks import TASKS, read_pooling
from inglenook.dialects.pooling.tei import read_embed, read_predict, read_similarity

_TEXT: Schema = {"type": "string"}
_TOKEN_IDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
INPUT: Schema = {
    "anyOf": [
        _TEXT,
        _TOKEN_IDS,
        {"type": "array", "items": {"anyOf": [_TEXT, _TOKEN_IDS]}, "minItems": 1, "maxItems": MAX_INPUTS},
    ]
}
_ITEM: Schema = {"anyOf": [_TEXT, {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}]}
_TEXTS: Schema = {"anyOf": [_ITEM, {"type": "array", "items": _ITEM, "minItems": 1, "maxItems": MAX_INPUTS}]}
_COHERE_TYPE: Schema = {"enum": list(EMBEDDING_TYPES)}
_TRUNCATE: Schema = {"enum": [True, False, "NONE", "START", "END", None]}


def embedding_schema() -> dict[str, Any]:
    names = ("input", "inputs", "content")
    known = {**dict.fromkeys(names, nullable(INPUT)), "truncate": _TRUNCATE}
    return request_schema(lambda fields: read_embedding(fields, ""), [{name: "Hi"} for name in names], known)


def rerank_schema() -> dict[str, Any]:
    known = {"documents": nullable(_TEXTS), "texts": nullable(_TEXTS), "truncate": _TRUNCATE}
    examples = [{"query": "Hi", "documents": ["a"]}, {"query": "Hi", "texts": ["a"]}]
    return request_schema(lambda fields: read_rerank(fields, ""), examples, known)


def score_schema() -> dict[str, Any]:
    known = {name: nullable(_TEXTS) for pair in SIDES for name in pair} | {"truncate": _TRUNCATE}
    return request_schema(lambda fields: read_score(fields, ""), [{a: "Hi", b: ["a"]} for a, b in SIDES], known)


def classify_schema() -> dict[str, Any]:
    known = {"input": INPUT, "truncate": _TRUNCATE}
    return request_schema(lambda fields: read_classify(fields, ""), [{"input": "Hi"}], known)


def pooling_schema() -> dict[str, Any]:
    known = {"input": INPUT, "truncate": _TRUNCATE, "task": {"enum": [*TASKS, None]}}
    examples = [{"input": "Hi", "task": task} for task in ("embed", "classify")]
    return request_schema(lambda fields: read_pooling(fields, "", "embed"), examples, known)


def tei_embed_schema() -> dict[str, Any]:
    known = {"inputs": INPUT, "truncate": _TRUNCATE}
    return request_schema(lambda fields: read_embed(fields, ""), [{"inputs": "Hi"}], known)


def cohere_schema() -> dict[str, Any]:
    part = object_of(("type", "text"), type={"enum": ["text"]}, text=_TEXT)
    contents = {"type": "array", "items": part, "minItems": 1, "maxItems": 1}
    known = {
        "texts": nullable(_listed(_TEXT)),
        "inputs": nullable(_listed(object_of(("content",), content=contents))),
        "embedding_types": nullable(_COHERE_TYPE, {"type": "array", "items": _COHERE_TYPE}),
        "truncate": _TRUNCATE,
    }
    examples: list[dict[str, Any]] = [{"texts": ["Hi"]}, {"inputs": [{"content": [{"type": "text", "text": "Hi"}]}]}]
    return request_schema(lambda fields: read_cohere(fields, "", "2"), examples, known)


def embed_schema() -> dict[str, Any]:
    """Of POST /embed: Text Embeddings Inference's form, or Cohere's first."""
    return {"anyOf": [tei_embed_schema(), cohere_schema()]}


def similarity_schema() -> dict[str, Any]:
    """Options stand in the body or in `parameters`."""
    sentences = object_of(("source_sentence", "sentences"), source_sentence=_TEXT, sentences=_listed(_TEXT))
    example = {"inputs": {"source_sentence": "Hi", "sentences": ["Hi"]}}
    options = request_schema(lambda fields: read_shared(fields, ""), [{}], {"truncate": _TRUNCATE})
    known = {"inputs": sentences, "parameters": nullable(options)}
    schema = request_schema(lambda fields: read_similarity(fields, ""), [example], known)
    return {**schema, "properties": {**options["properties"], **schema["properties"]}}


def predict_schema() -> dict[str, Any]:
    sequence = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2}
    known = {"inputs": {"anyOf": [_TEXT, sequence, _listed(sequence)]}, "truncate": _TRUNCATE}
    return request_schema(lambda fields: read_predict(fields, ""), [{"inputs": "Hi"}], known)


def _listed(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_INPUTS}
