"""POST /rerank and /score over a scripted back end: the forms of four servers, orders, refusals."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fixtures.pooling_app import connect
from fixtures.pooling_shapes import ERROR, RERANK, SCORE, TEI_RERANK, valid
from fixtures.scripted_pooler import ScriptedPooler
from inglenook.types import ScoreRequest

DOCUMENTS = ["xyz", "ab", "axyz", "ab"]  # for the query "ab": 0, 1, 1/4, 1


async def post(http: httpx.AsyncClient, path: str, **fields: Any) -> Any:
    response = await http.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("task", ["score", "embed"])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/reranking", "/v1/reranking"])
async def test_jina(path: str, task: Any) -> None:
    async with connect(ScriptedPooler(task)) as http:
        answer = valid(await post(http, path, model="vectors", query="ab", documents=DOCUMENTS), RERANK)
    assert [(r["index"], r["relevance_score"]) for r in answer["results"]] == [(1, 1), (3, 1), (2, 0.25), (0, 0)]
    assert [r["document"]["text"] for r in answer["results"]] == ["ab", "ab", "axyz", "xyz"]
    assert answer["usage"] == {"prompt_tokens": 8 + 11, "total_tokens": 8 + 11}
    assert answer["model"] == "vectors"


@pytest.mark.parametrize("path", ["/v2/rerank", "/v1/v2/rerank"])
async def test_cohere(path: str) -> None:
    documents = [{"text": text, "id": index} for index, text in enumerate(DOCUMENTS)]
    async with connect() as http:
        answer = valid(await post(http, path, query="ab", documents=documents, top_n=2), RERANK)
        assert answer["results"] == [{"index": 1, "relevance_score": 1}, {"index": 3, "relevance_score": 1}]
        assert answer["meta"]["api_version"] == {"version": "2"}
        answer = await post(http, path, query="ab", documents=documents, return_documents=True)
        assert answer["results"][0]["document"] == {"text": "ab"}


async def test_text_embeddings_inference() -> None:
    async with connect() as http:
        answer = valid(await post(http, "/rerank", query="ab", texts=DOCUMENTS), TEI_RERANK)
        assert [(r["index"], r["score"]) for r in answer] == [(1, 1), (3, 1), (2, 0.25), (0, 0)]
        assert "text" not in answer[0]
        answer = valid(await post(http, "/rerank", query="ab", texts=DOCUMENTS, return_text=True), TEI_RERANK)
        assert answer[0]["text"] == "ab"


@pytest.mark.parametrize(("top_n", "num"), [(1, 1), (2, 2), (99, 4), (0, 4), (None, 4)])
async def test_top_n(top_n: int | None, num: int) -> None:
    async with connect() as http:
        answer = await post(http, "/rerank", query="ab", documents=DOCUMENTS, top_n=top_n, return_documents=False)
    assert len(valid(answer, RERANK)["results"]) == num
    assert "document" not in answer["results"][0]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": None}, "documents"),
        ({"documents": 123}, "documents"),
        ({"documents": [1, 2]}, "documents[0]"),
        ({"documents": ["a", None]}, "documents[1]"),
        ({"documents": [{"body": "a"}]}, "documents[0]"),
        ({"documents": ["a"] * 2049}, "documents"),
        ({"texts": ["a"]}, "documents"),
        ({"query": None}, "query"),
        ({"query": ["ab"]}, "query"),
        ({"top_n": -1}, "top_n"),
        ({"top_n": "2"}, "top_n"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"rank_fields": ["title"]}, "rank_fields"),
        ({"max_tokens_per_doc": 5}, "max_tokens_per_doc"),
        ({"raw_scores": True, "use_activation": True}, "raw_scores"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_refused_rerankings(fields: dict[str, Any], param: str) -> None:
    async with connect() as http:
        response = await http.post("/rerank", json={"query": "ab", "documents": DOCUMENTS, **fields})
    assert response.status_code == 400
    assert valid(response.json(), ERROR)["error"]["param"] == param


@pytest.mark.parametrize("names", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items")])
@pytest.mark.parametrize(
    ("first", "second", "scores"),
    [
        ("ab", "ab", [1]),
        ("ab", ["xyz", "ab"], [0, 1]),
        (["ab"], ["xyz", {"text": "ab"}], [0, 1]),
        (["ab", "x"], ["ab", "ax"], [1, 0.5]),
    ],
)
async def test_score(names: tuple[str, str], first: Any, second: Any, scores: list[float]) -> None:
    async with connect() as http:
        answer = valid(await post(http, "/v1/score", **{names[0]: first, names[1]: second}), SCORE)
    assert [(item["index"], item["score"]) for item in answer["data"]] == list(enumerate(scores))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "text_1"),
        ({"text_1": "a"}, "text_1"),
        ({"text_1": "a", "items": "b"}, "text_1"),
        ({"text_1": "a", "text_2": "b", "items": "b"}, "text_1"),
        ({"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1"),
        ({"text_1": ["a", "b"], "text_2": "a"}, "text_1"),
        ({"text_1": [], "text_2": "a"}, "text_1"),
        ({"text_1": "a", "text_2": []}, "text_2"),
        ({"text_1": "a", "text_2": [1]}, "text_2[0]"),
    ],
    ids=str,
)
async def test_refused_scores(fields: dict[str, Any], param: str) -> None:
    async with connect() as http:
        response = await http.post("/score", json=fields)
    assert response.status_code == 400
    assert valid(response.json(), ERROR)["error"]["param"] == param


async def test_fields_reach_the_back_end() -> None:
    pooler = ScriptedPooler("score")
    async with connect(pooler) as http:
        await post(http, "/rerank", query="q", texts=["a", "b"], raw_scores=True, truncate=True, priority=2)
        await post(http, "/score", text_1="q", text_2="a", use_activation=False, truncate_prompt_tokens=9)
        await post(http, "/rerank", query="q", documents="a", raw_scores=False)
    pairs = (("q", "a"), ("q", "b"))
    rerank, score, plain = pooler.requests
    assert rerank == ScoreRequest(rerank.request_id, "vectors", 2, truncate_prompt_tokens=-1, pairs=pairs, is_raw=True)
    assert score == ScoreRequest(
        score.request_id, "vectors", truncate_prompt_tokens=9, pairs=(("q", "a"),), is_raw=True
    )
    assert plain == ScoreRequest(plain.request_id, "vectors", pairs=(("q", "a"),))


async def test_a_ranking_model_has_no_vectors() -> None:
    async with connect(ScriptedPooler("score")) as http:
        response = await http.post("/v1/embeddings", json={"input": "a"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_task")
