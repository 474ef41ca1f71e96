"""Requests that score texts and their answers: /rerank as Cohere, Jina (`documents`) and Text Embeddings Inference
(`texts`) have it, /score as vLLM has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from inglenook.dialects.json_fields import Fields, decode_object, expected
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.pooling.embeddings import PoolingUsage, pooling_usage
from inglenook.dialects.pooling.fields import (
    check_number,
    one_given,
    read_one_boolean,
    read_shared,
    refuse_or_report,
)
from inglenook.errors import InvalidRequestError
from inglenook.types import ScoreRequest, Scores

# vLLM's names for the two sides of /score.
SIDES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))


@dataclass(frozen=True)
class RerankCall:
    """A request with what concerns only its answer's form."""

    request: ScoreRequest
    documents: tuple[str, ...]
    top_n: int
    has_documents: bool  # in the answer
    is_tei: bool
    unknown_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreCall:
    request: ScoreRequest
    unknown_fields: tuple[str, ...] = ()


# --- requests -------------------------------------------------------------------------------------


def parse_rerank(body: bytes, request_id: str, *, returns_documents: bool = True) -> RerankCall:
    """Body of POST /rerank. `returns_documents` is the route's habit. Raises InvalidRequestError, naming the field."""
    return read_rerank(Fields(decode_object(body)), request_id, returns_documents=returns_documents)


def read_rerank(fields: Fields, request_id: str, *, returns_documents: bool = True) -> RerankCall:
    query = fields.string("query", None)
    if query is None:
        raise InvalidRequestError("query is missing; it must be a string.", param="query")
    is_tei = one_given(fields, "documents", "texts") == "texts"
    documents = _read_texts(fields, "texts" if is_tei else "documents")
    top_n = fields.integer("top_n", None)
    if top_n is not None and top_n < 0:
        raise InvalidRequestError(f"top_n is {top_n}; it must be at least 1.", param="top_n")
    request = ScoreRequest(
        pairs=tuple((query, document) for document in documents),
        **read_score_options(fields, request_id),
    )
    name = "return_text" if is_tei else "return_documents"
    return RerankCall(
        request,
        documents,
        min(top_n or len(documents), len(documents)),  # vLLM's default is 0: all of them
        fields.boolean(name, returns_documents and not is_tei),
        is_tei,
        refuse_or_report(fields.unread()),
    )


def parse_score(body: bytes, request_id: str) -> ScoreCall:
    """Body of POST /score. Raises InvalidRequestError, naming the field."""
    return read_score(Fields(decode_object(body)), request_id)


def read_score(fields: Fields, request_id: str) -> ScoreCall:
    """One text against one or many, or as many against as many."""
    given = {name for pair in SIDES for name in pair if fields.get(name) is not None}
    sides = next((pair for pair in SIDES if given == set(pair)), None)
    if sides is None:
        forms = "; ".join(" and ".join(pair) for pair in SIDES)
        raise InvalidRequestError(f"Two sides are needed, each a text or a list of texts: {forms}.", param="text_1")
    left, right = sides
    first, second = _read_texts(fields, left), _read_texts(fields, right)
    if len(first) not in (1, len(second)):
        raise InvalidRequestError(
            f"{left} has {len(first)} texts and {right} {len(second)}: {left} must have one, or as many.", param=left
        )
    firsts = first * len(second) if len(first) == 1 else first
    request = ScoreRequest(
        pairs=tuple(zip(firsts, second, strict=True)),
        **read_score_options(fields, request_id),
    )
    return ScoreCall(request, refuse_or_report(fields.unread()))


def read_score_options(fields: Fields, request_id: str) -> dict[str, Any]:
    """Of a ScoreRequest all but the pairs."""
    return {**read_shared(fields, request_id), "is_raw": read_raw(fields)}


def read_raw(fields: Fields) -> bool:
    """Text Embeddings Inference's raw_scores, vLLM's use_activation and its older names."""
    is_activated = read_one_boolean(fields, "use_activation", "activation", "softmax")
    is_raw = fields.boolean("raw_scores", None)
    if is_raw is not None and is_activated is not None and is_raw == is_activated:
        raise InvalidRequestError("raw_scores and use_activation contradict each other.", param="raw_scores")
    return is_raw if is_raw is not None else is_activated is False


def _read_texts(fields: Fields, name: str) -> tuple[str, ...]:
    given = fields.get(name)
    if given is None:
        raise InvalidRequestError(f"{name} is missing; it must be a list of texts.", param=name)
    if isinstance(given, (str, dict)):
        given = [given]
    if not isinstance(given, list):
        raise expected(name, "a list of texts", given)
    check_number(name, given)
    return tuple(_read_text(f"{name}[{index}]", item) for index, item in enumerate(given))


def _read_text(where: str, value: Any) -> str:
    """A string, or an object that has it as `text`."""
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise expected(where, 'a string or {"text": "..."}', value)
    return text


# --- answers --------------------------------------------------------------------------------------


class RerankDocument(Struct):
    text: str


class RerankResult(Struct):
    index: int
    relevance_score: float
    document: RerankDocument | UnsetType = UNSET


class ApiVersion(Struct):
    version: str


class BilledUnits(Struct):
    search_units: int


class RerankMeta(Struct):
    """Cohere's. One search unit: nothing is billed here."""

    api_version: ApiVersion
    billed_units: BilledUnits


class RerankBody(Struct):
    """What Cohere (id, results, meta) and Jina (object, model, results, usage) have, in one object."""

    id: str
    object: Literal["list"]
    model: str
    results: list[RerankResult]
    usage: PoolingUsage
    meta: RerankMeta


class TeiRank(Struct):
    index: int
    score: float
    text: str | UnsetType = UNSET


class ScoreItem(Struct):
    index: int
    object: Literal["score"]
    score: float


class ScoreList(Struct):
    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreItem]
    usage: PoolingUsage


def rerank_body(call: RerankCall, model: str, answer: Scores, *, api_version: str = "1") -> bytes:
    """`model` is the name that was asked for."""
    ranked = ranking(answer.scores)[: call.top_n]
    if call.is_tei:
        return encode_json(
            [TeiRank(i, answer.scores[i], call.documents[i] if call.has_documents else UNSET) for i in ranked]
        )
    results = [
        RerankResult(i, answer.scores[i], RerankDocument(call.documents[i]) if call.has_documents else UNSET)
        for i in ranked
    ]
    meta = RerankMeta(ApiVersion(api_version), BilledUnits(1))
    request_id = call.request.request_id
    return encode_json(RerankBody(request_id, "list", model, results, pooling_usage(answer.usage), meta))


def score_body(call: ScoreCall, model: str, created: int, answer: Scores) -> bytes:
    data = [ScoreItem(index, "score", score) for index, score in enumerate(answer.scores)]
    request_id = call.request.request_id
    return encode_json(ScoreList(request_id, "list", created, model, data, pooling_usage(answer.usage)))


def ranking(scores: Sequence[float]) -> list[int]:
    """Indices, best first; equal ones as they were given."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])
