"""POST /v1/embeddings over a scripted back end: forms of input and answer, fields, errors."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest

from fixtures.pooling_app import connect, openai_client
from fixtures.pooling_shapes import EMBEDDINGS, ERROR, LLAMA_EMBEDDINGS, valid
from fixtures.scripted_pooler import ScriptedPooler, vector_of
from inglenook.errors import ContextLengthError
from inglenook.types import EmbedRequest

if TYPE_CHECKING:
    from conftest import ScriptedBackend


async def embed(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await http.post("/v1/embeddings", json={"model": "vectors", "input": "abc", **fields})
    assert response.status_code == 200, response.text
    return valid(response.json(), EMBEDDINGS)  # type: ignore[no-any-return]


async def refusal(http: httpx.AsyncClient, **fields: Any) -> tuple[int, str, str]:
    """Status, code and parameter."""
    response = await http.post("/v1/embeddings", json={"model": "vectors", "input": "abc", **fields})
    error = valid(response.json(), ERROR)["error"]
    return response.status_code, error["code"], error["param"]


@pytest.mark.parametrize(
    "given", ["abc", ["abc", "", "de"], [1, 2, 3], [[1, 2], [3]], ["abc", [4, 5]]], ids=lambda given: str(given)
)
async def test_forms_of_input(given: Any) -> None:
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    pooler = ScriptedPooler()
    async with connect(pooler) as http:
        answer = await embed(http, input=given)
    expected = [vector_of(item if isinstance(item, str) else tuple(item)) for item in inputs]
    assert [item["index"] for item in answer["data"]] == list(range(len(inputs)))
    assert [np.float32(item["embedding"]).tobytes() for item in answer["data"]] == [v.tobytes() for v in expected]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] == sum(map(len, inputs))
    assert answer["model"] == "vectors"


async def test_base64_holds_the_bits_of_the_float_answer() -> None:
    async with connect() as http:
        plain = await embed(http, input=["abc", "de"], encoding_format="float")
        packed = await embed(http, input=["abc", "de"], encoding_format="base64")
    for one, other in zip(plain["data"], packed["data"], strict=True):
        assert np.float32(one["embedding"]).astype("<f4").tobytes() == base64.b64decode(other["embedding"])


async def test_the_openai_client() -> None:
    pooler = ScriptedPooler()
    async with connect(pooler) as http:
        client = openai_client(http)
        answer = await client.embeddings.create(model="vectors", input=["abc", "de"])
        floats = await client.embeddings.create(model="vectors", input=["abc", "de"], encoding_format="float")
        assert [e.embedding for e in answer.data] == [e.embedding for e in floats.data]
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="other", input="a")
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="vectors", messages=[{"role": "user", "content": "a"}])


async def test_fields_reach_the_back_end() -> None:
    pooler = ScriptedPooler()
    fields = {
        "dimensions": 2,
        "prompt_name": "query",
        "input_type": "search_document",
        "normalize": False,
        "add_special_tokens": False,
        "truncate_prompt_tokens": 5,
        "truncation_side": "left",
        "priority": -3,
    }
    async with connect(pooler) as http:
        await embed(http, **fields)
        await embed(http)
        await embed(http, **dict.fromkeys(fields))
    [given, plain, nulls] = pooler.requests
    assert isinstance(given, EmbedRequest)
    assert given.request_id.startswith("embd-")
    assert given == EmbedRequest(
        given.request_id,
        "vectors",
        priority=-3,
        truncate_prompt_tokens=5,
        truncation_side="left",
        inputs=("abc",),
        dimensions=2,
        prompt_name="query",
        input_type="document",
        is_normalized=False,
        add_special_tokens=False,
    )
    for request in (plain, nulls):
        assert request == EmbedRequest(request.request_id, "vectors", inputs=("abc",))


@pytest.mark.parametrize(
    ("fields", "num_tokens", "side"),
    [
        ({"truncate": True}, -1, "right"),
        ({"truncate": False}, None, "right"),
        ({"truncate": "START"}, -1, "left"),
        ({"truncate": "END"}, -1, "right"),
        ({"truncate": "NONE"}, None, "right"),
        ({"truncation": True}, -1, "right"),
        ({"truncate": True, "truncation_direction": "Left"}, -1, "left"),
        ({"truncate": True, "truncate_prompt_tokens": 7}, 7, "right"),
    ],
)
async def test_other_servers_ways_to_ask_for_cutting(fields: dict[str, Any], num_tokens: int, side: str) -> None:
    pooler = ScriptedPooler()
    async with connect(pooler) as http:
        await embed(http, **fields)
    assert (pooler.requests[0].truncate_prompt_tokens, pooler.requests[0].truncation_side) == (num_tokens, side)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": None}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": [[]]}, "invalid_value", "input[0]"),
        ({"input": 5}, "invalid_value", "input"),
        ({"input": {"text": "a"}}, "invalid_value", "input"),
        ({"input": ["a", 5]}, "invalid_value", "input[1]"),
        ({"input": [1, "a"]}, "invalid_value", "input[1]"),
        ({"input": [-1]}, "invalid_value", "input[0]"),
        ({"input": [1.5]}, "invalid_value", "input[0]"),
        ({"input": ["a"] * 2049}, "invalid_value", "input"),
        ({"content": "a"}, "invalid_value", "input"),
        ({"encoding_format": "int8"}, "invalid_value", "encoding_format"),
        ({"encoding_format": 1}, "invalid_value", "encoding_format"),
        ({"dimensions": 0}, "invalid_value", "dimensions"),
        ({"dimensions": "a"}, "invalid_value", "dimensions"),
        ({"truncate_prompt_tokens": 0}, "invalid_value", "truncate_prompt_tokens"),
        ({"truncation_side": "middle"}, "invalid_value", "truncation_side"),
        ({"truncate": "MIDDLE"}, "invalid_value", "truncate"),
        ({"input_type": "image"}, "invalid_value", "input_type"),
        ({"normalize": False, "use_activation": True}, "invalid_value", "use_activation"),
        ({"embd_normalize": 1}, "unsupported_parameter", "embd_normalize"),
        ({"messages": [{}]}, "unsupported_parameter", "messages"),
        ({"embed_dtype": "float16"}, "unsupported_parameter", "embed_dtype"),
        ({"task": "retrieval.query"}, "unsupported_parameter", "task"),
        ({"model": "other"}, "model_not_found", "model"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_refusals(fields: dict[str, Any], code: str, param: str) -> None:
    async with connect() as http:
        assert await refusal(http, **fields) == (404 if code == "model_not_found" else 400, code, param)


async def test_what_the_back_end_refuses() -> None:
    error = ContextLengthError("Too long: 300 of 256.", param="input")
    async with connect(ScriptedPooler(error=error)) as http:
        assert await refusal(http) == (400, "context_length_exceeded", "input")


async def test_warnings() -> None:
    async with connect(ScriptedPooler(warnings=("a thing",))) as http:
        body = {"input": "a", "user": "me", "temperature": 0, "embed_dtype": "float32"}
        answer = await http.post("/embeddings", json=body)
    assert answer.headers["x-inglenook-warnings"] == "unknown fields ignored: temperature; a thing"
    body = valid(answer.json(), EMBEDDINGS)
    assert body["warnings"] == ["unknown fields ignored: temperature", "a thing"]
    assert body["model"] == "vectors"


async def test_paths() -> None:
    pooler = ScriptedPooler()
    async with connect(pooler) as http:
        for path in ("/embeddings", "/v1/embeddings/", "/v1//embeddings", "/v1/engines/vectors/embeddings"):
            answer = await http.post(path, content=json.dumps({"input": "a"}))
            assert valid(answer.json(), EMBEDDINGS)["model"] == "vectors"
        assert (await http.post("/v1/engines/other/embeddings", json={"input": "a"})).status_code == 404
        assert (await http.get("/v1/embeddings")).status_code == 405


async def test_llama_cpp() -> None:
    pooler = ScriptedPooler()
    async with connect(pooler) as http:
        for path in ("/embedding", "/embeddings"):
            answer = await http.post(path, json={"content": ["ab", "c"], "embd_normalize": -1})
            rows = valid(answer.json(), LLAMA_EMBEDDINGS)
            assert [np.float32(row["embedding"][0]).tolist() for row in rows] == [
                vector_of("ab").tolist(),
                vector_of("c").tolist(),
            ]
    assert isinstance(pooler.requests[0], EmbedRequest)
    assert pooler.requests[0].is_normalized is False
    async with connect(pooler) as http:
        answer = await http.post("/embedding", json={"content": "a", "encoding_format": "base64"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "encoding_format")


async def test_each_model_does_its_own(backend: ScriptedBackend) -> None:
    """A chat model has no vectors, an embedding model no chat; which model can is said."""
    async with connect(backend, ScriptedPooler()) as http:
        answer = await http.post("/v1/embeddings", json={"model": "tiny", "input": "a"})
        error = valid(answer.json(), ERROR)["error"]
        assert (answer.status_code, error["code"]) == (400, "unsupported_task")
        assert "vectors" in error["message"]
        chat = {"model": "vectors", "messages": [{"role": "user", "content": "a"}]}
        answer = await http.post("/v1/chat/completions", json=chat)
        assert (answer.status_code, valid(answer.json(), ERROR)["error"]["code"]) == (400, "unsupported_task")
        cards = {card["id"]: card["task"] for card in (await http.get("/v1/models")).json()["data"]}
        assert cards == {"tiny": "generate", "org/model": "generate", "vectors": "embed"}


async def test_metrics() -> None:
    async with connect() as http:
        await embed(http, input=["abc", "de"])
        lines = (await http.get("/metrics")).text.splitlines()
    assert 'inglenook:prompt_tokens_total{model_name="vectors"} 5.0' in lines
    assert 'inglenook:request_success_total{finished_reason="stop",model_name="vectors"} 1.0' in lines


async def test_a_client_that_leaves_cancels() -> None:
    pooler = ScriptedPooler(pause_s=60)
    async with connect(pooler) as http:
        with pytest.raises((httpx.TimeoutException, asyncio.TimeoutError)):
            await asyncio.wait_for(http.post("/v1/embeddings", json={"input": "a"}), 0.2)
    assert pooler.num_cancelled == 1


@pytest.mark.parametrize("path", ["moderations", "images/generations", "images/edits", "audio/speech"])
async def test_routes_without_a_model(path: str) -> None:
    async with connect() as http:
        answer = await http.post(f"/v1/{path}", json={"input": "a"})
        assert answer.status_code == 501
        assert valid(answer.json(), ERROR)["error"]["code"] == "not_implemented"
        assert answer.headers["x-should-retry"] == "false"


async def test_moderations_with_the_openai_client() -> None:
    async with connect() as http:
        client = openai.AsyncOpenAI(base_url="http://test/v1", api_key="none", max_retries=2, http_client=http)
        with pytest.raises(openai.InternalServerError, match="no moderation model"):
            await client.moderations.create(input="a")
