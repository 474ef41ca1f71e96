"""Vectors in the forms of Text Embeddings Inference and of Cohere, over a scripted back end."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from fixtures.pooling_app import connect
from fixtures.pooling_shapes import COHERE_BY_TYPE, COHERE_ERROR, COHERE_FLOATS, SIMILARITIES, TEI_ERROR, VECTORS, valid
from fixtures.scripted_pooler import ScriptedPooler, vector_of
from inglenook.errors import ContextLengthError, EngineError, OverloadedError, UnavailableError
from inglenook.types import EmbedRequest, ScoreRequest


async def post(http: httpx.AsyncClient, path: str, **fields: Any) -> Any:
    response = await http.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


# --- Text Embeddings Inference ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/embed", "/v1/embed"])
async def test_embed(path: str) -> None:
    pooler = ScriptedPooler()
    async with connect(pooler) as http:
        assert valid(await post(http, path, inputs=["a", "bc"]), VECTORS) == [
            vector_of("a").tolist(),
            vector_of("bc").tolist(),
        ]
        for given in ("a", [1, 2], [[1, 2]], ["a", [1, 2]]):
            valid(await post(http, path, inputs=given), VECTORS)
        await post(
            http,
            path,
            inputs="a",
            truncate=True,
            truncation_direction="Left",
            normalize=False,
            prompt_name="query",
            dimensions=2,
        )
    first, *others, last = pooler.requests
    assert first == EmbedRequest(first.request_id, "vectors", inputs=("a", "bc"), is_normalized=True)
    assert [request.inputs for request in others] == [("a",), ((1, 2),), ((1, 2),), ("a", (1, 2))]  # type: ignore[attr-defined]
    assert last == EmbedRequest(
        last.request_id,
        "vectors",
        truncate_prompt_tokens=-1,
        truncation_side="left",
        inputs=("a",),
        is_normalized=False,
        prompt_name="query",
        dimensions=2,
    )


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({}, 422, "Validation"),
        ({"inputs": []}, 400, "Empty"),
        ({"inputs": {"a": 1}}, 422, "Validation"),
        ({"inputs": ["a"] * 2049}, 413, "Validation"),
        ({"inputs": "a", "truncate": "yes"}, 422, "Validation"),
        ({"inputs": "a", "output_dtype": "int8"}, 422, "Validation"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_refused_vectors(fields: dict[str, Any], status: int, kind: str) -> None:
    async with connect() as http:
        response = await http.post("/embed", json=fields)
    assert (response.status_code, valid(response.json(), TEI_ERROR)["error_type"]) == (status, kind)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ContextLengthError("Too long."), 413, "Validation"),
        (OverloadedError("Later."), 429, "Overloaded"),
        (EngineError("Failed."), 424, "Backend"),
        (UnavailableError("Stopping."), 503, "Unhealthy"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/embed", "/similarity"])
async def test_errors(path: str, error: Any, status: int, kind: str) -> None:
    inputs = "a" if path == "/embed" else {"source_sentence": "a", "sentences": ["b"]}
    async with connect(ScriptedPooler(error=error)) as http:
        response = await http.post(path, json={"inputs": inputs})
    assert response.status_code == status
    assert valid(response.json(), TEI_ERROR) == {"error": error.message, "error_type": kind}


async def test_vectors_of_a_model_without_any() -> None:
    async with connect(ScriptedPooler("score")) as http:
        response = await http.post("/embed", json={"inputs": "a"})
    assert (response.status_code, response.json()["error_type"]) == (424, "Backend")


async def test_vectors_of_tokens_are_not_served() -> None:
    async with connect() as http:
        response = await http.post("/embed_all", json={"inputs": "a"})
    assert (response.status_code, valid(response.json(), TEI_ERROR)["error_type"]) == (501, "not_implemented")
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("task", ["embed", "score"])
async def test_similarity(task: Any) -> None:
    pooler = ScriptedPooler(task)
    inputs = {"source_sentence": "ab", "sentences": ["ab", "xa", "x"]}
    async with connect(pooler) as http:
        assert valid(await post(http, "/similarity", inputs=inputs), SIMILARITIES) == [1, 0.5, 0]
        await post(http, "/similarity", inputs=inputs, parameters={"truncate": True, "truncation_direction": "left"})
        for wrong in ("a", {"source_sentence": "a"}, {"sentences": ["a"]}, {"source_sentence": "a", "sentences": "b"}):
            response = await http.post("/similarity", json={"inputs": wrong})
            assert (response.status_code, response.json()["error_type"]) == (422, "Validation")
        response = await http.post("/similarity", json={"inputs": {"source_sentence": "a", "sentences": []}})
        assert (response.status_code, response.json()["error_type"]) == (400, "Empty")
    plain, cut = pooler.requests
    pairs = (("ab", "ab"), ("ab", "xa"), ("ab", "x"))
    assert plain == ScoreRequest(plain.request_id, "vectors", pairs=pairs)
    assert cut == ScoreRequest(
        cut.request_id, "vectors", truncate_prompt_tokens=-1, truncation_side="left", pairs=pairs
    )


# --- Cohere -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2/embed", "/v1/v2/embed"])
async def test_the_second_version(path: str) -> None:
    pooler = ScriptedPooler(warnings=("Cut.",))
    async with connect(pooler) as http:
        answer = valid(
            await post(http, path, model="vectors", texts=["a", "bc"], input_type="search_query"), COHERE_BY_TYPE
        )
        assert answer["embeddings"] == {"float": [vector_of("a").tolist(), vector_of("bc").tolist()]}
        assert answer["texts"] == ["a", "bc"]
        assert answer["meta"] == {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": 3},
            "warnings": ["Cut."],
        }
        contents = [{"content": [{"type": "text", "text": "a"}]}]
        answer = valid(await post(http, path, inputs=contents, truncate="NONE", output_dimension=3), COHERE_BY_TYPE)
        assert answer["texts"] == ["a"]
        await post(http, path, texts=["a"], truncate="START", max_tokens=7, input_type="clustering")
    first, exact, cut = pooler.requests
    end = {"truncate_prompt_tokens": -1}
    assert first == EmbedRequest(first.request_id, "vectors", inputs=("a", "bc"), input_type="query", **end)  # type: ignore[arg-type]
    assert exact == EmbedRequest(exact.request_id, "vectors", inputs=("a",), dimensions=3)
    assert cut == EmbedRequest(
        cut.request_id,
        "vectors",
        truncate_prompt_tokens=7,
        truncation_side="left",
        inputs=("a",),
        input_type="clustering",
    )


class EightNumbers(ScriptedPooler):
    async def embed(self, request: EmbedRequest) -> Any:
        answer = await super().embed(request)
        rows = np.array([[0.5, -1.0, 0.25, 0.0, 0.1, -0.1, -0.004, 0.004]] * len(request.inputs), np.float32)
        return type(answer)(rows, answer.usage)


async def test_types_of_numbers() -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    async with connect(EightNumbers()) as http:
        answer = valid(await post(http, "/v2/embed", texts=["a", "b"], embedding_types=types), COHERE_BY_TYPE)
        found = {name: rows[1] for name, rows in answer["embeddings"].items()}
        one = valid(await post(http, "/v2/embed", texts=["a"], embedding_types=["int8"]), COHERE_BY_TYPE)
    assert found["int8"] == [64, -127, 32, 0, 13, -13, -1, 1]
    assert found["uint8"] == [192, 1, 160, 128, 141, 115, 127, 129]
    assert found["ubinary"] == [0b10101001]
    assert found["binary"] == [0b10101001 - 128]
    assert np.frombuffer(base64.b64decode(found["base64"]), "<f4").tolist() == found["float"]
    assert one["embeddings"] == {"int8": [found["int8"]]}


async def test_the_first_version() -> None:
    async with connect() as http:
        flat = valid(await post(http, "/v1/embed", texts=["a"]), COHERE_FLOATS)
        assert flat["embeddings"] == [vector_of("a").tolist()]
        assert flat["meta"]["api_version"] == {"version": "1"}
        by_type = valid(await post(http, "/v1/embed", texts=["a"], embedding_types=["float"]), COHERE_BY_TYPE)
        assert by_type["embeddings"] == {"float": flat["embeddings"]}
        assert by_type["meta"] == flat["meta"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"texts": []}, "texts"),
        ({"texts": ["a"] * 2049}, "texts"),
        ({"texts": "a"}, "texts"),
        ({"texts": ["a", 3]}, r"texts[1]"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, "int4"),
        ({"texts": ["a"], "embedding_types": ["binary"]}, "multiple of 8"),
        ({"texts": ["a"], "images": ["data:image/png;base64,AA"]}, "images"),
        ({"texts": ["a"], "input_type": "image"}, "input_type"),
        ({"texts": ["a"], "truncate": "MIDDLE"}, "truncate"),
        ({"texts": ["a"], "truncate": "NONE", "max_tokens": 3}, "max_tokens"),
        ({"texts": ["a"], "output_dimension": 3, "dimensions": 2}, "dimensions"),
        ({"texts": ["a"], "output_dimension": 0}, "dimensions"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
async def test_refused_by_cohere(path: str, fields: dict[str, Any], named: str) -> None:
    async with connect() as http:
        response = await http.post(path, json=fields)
    assert response.status_code == 400
    assert named in valid(response.json(), COHERE_ERROR)["message"]


@pytest.mark.parametrize(
    "inputs",
    [
        [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}],
        [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        [{"content": []}],
        [{"content": [{"type": "text"}]}],
        ["a"],
        "a",
    ],
    ids=str,
)
async def test_contents_that_are_no_text(inputs: Any) -> None:
    async with connect() as http:
        response = await http.post("/v2/embed", json={"inputs": inputs})
    assert response.status_code == 400
    assert "inputs" in valid(response.json(), COHERE_ERROR)["message"]


async def test_many_vectors_are_encoded_off_the_loop() -> None:
    """The same answer, however many there are."""
    texts = [f"text {index}" for index in range(2048)]
    expected = np.stack([vector_of(text) for text in texts])

    class Wide(ScriptedPooler):
        async def embed(self, request: EmbedRequest) -> Any:
            answer = await super().embed(request)
            return type(answer)(np.tile(answer.vectors, 16), answer.usage)

    async with connect(Wide()) as http:
        found = valid(await post(http, "/embed", inputs=texts), VECTORS)
        data = (await post(http, "/v1/embeddings", input=texts))["data"]
    assert np.array_equal(np.array(found, np.float32), np.tile(expected, 16))
    assert [item["embedding"] for item in data] == found
