"""POST /classify, /pooling and /predict over scripted back ends."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from fixtures.pooling_app import connect
from fixtures.pooling_shapes import CLASSES, ERROR, POOLED, PREDICTIONS, TEI_ERROR, valid
from fixtures.scripted_pooler import ScriptedPooler, vector_of
from inglenook.types import ClassifyRequest, EmbedRequest, TextPair


def classifier() -> ScriptedPooler:
    return ScriptedPooler("classify", "classes")


async def post(http: httpx.AsyncClient, path: str, **fields: Any) -> Any:
    response = await http.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
async def test_classify(path: str) -> None:
    async with connect(ScriptedPooler(), classifier()) as http:
        answer = valid(await post(http, path, input=["bbbb", "aaab", "x"]), CLASSES)
        assert [item["label"] for item in answer["data"]] == ["bliss", "anger", "none"]
        assert answer["data"][1] == {"index": 1, "label": "anger", "probs": [0.75, 0.25, 0], "num_classes": 3}
        assert answer["model"] == "classes" and answer["id"].startswith("classify-")
        assert answer["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
        assert len(valid(await post(http, path, input="a", model="classes"), CLASSES)["data"]) == 1


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]], "ab"])
@pytest.mark.parametrize("name", ["use_activation", "activation", "softmax"])
async def test_fields_of_classify(given: Any, name: str) -> None:
    pooler = classifier()
    async with connect(pooler) as http:
        answer = await post(http, "/classify", input=given, priority=3, truncate_prompt_tokens=-1, **{name: False})
        await post(http, "/classify", input=given, **{name: True}, add_special_tokens=False)
    assert sum(valid(answer, CLASSES)["data"][0]["probs"]) == 2  # as they are
    inputs = ("ab",) if given == "ab" else ((1, 2),)
    raw, finished = pooler.requests
    assert raw == ClassifyRequest(
        raw.request_id, "classes", 3, truncate_prompt_tokens=-1, inputs=inputs, function="none"
    )
    assert finished == ClassifyRequest(finished.request_id, "classes", inputs=inputs, add_special_tokens=False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["a", 3]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "messages": [{"role": "user", "content": "a"}]}, "messages"),
        ({"input": "a", "use_activation": "no"}, "use_activation"),
        ({"input": "a", "model": "vectors"}, "model"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("path", ["/classify", "/pooling"])
async def test_refusals(path: str, fields: dict[str, Any], param: str) -> None:
    async with connect(classifier(), ScriptedPooler()) as http:
        response = await http.post(path, json={"task": "classify", **fields} if path == "/pooling" else fields)
    assert response.status_code == 400
    assert valid(response.json(), ERROR)["error"]["param"] == param


# --- /pooling -----------------------------------------------------------------------------------------


async def test_pooling_gives_what_the_model_does() -> None:
    vectors, classes = ScriptedPooler(), classifier()
    async with connect(vectors, classes) as http:
        answer = valid(await post(http, "/pooling", input=["a", "bb"], dimensions=3), POOLED)
        assert [item["data"] for item in answer["data"]] == [vector_of("a").tolist(), vector_of("bb").tolist()]
        assert (answer["model"], answer["usage"]["prompt_tokens"]) == ("vectors", 3)
        answer = valid(await post(http, "/v1/pooling", input="aaab", model="classes"), POOLED)
        assert [item["data"] for item in answer["data"]] == [[0.75, 0.25, 0]]
        for fields in ({"task": "classify"}, {"task": "classify", "encoding_format": "base64"}):
            answer = valid(await post(http, "/pooling", input="aaab", **fields), POOLED)
            data = answer["data"][0]["data"]
            found = np.frombuffer(base64.b64decode(data), "<f4").tolist() if isinstance(data, str) else data
            assert (answer["model"], found) == ("classes", [0.75, 0.25, 0])
    [request] = vectors.requests
    assert request == EmbedRequest(request.request_id, "vectors", inputs=("a", "bb"), dimensions=3)


@pytest.mark.parametrize("task", ["token_embed", "token_classify", "plugin", "sing", 3])
async def test_tasks_that_no_model_here_does(task: Any) -> None:
    async with connect() as http:
        response = await http.post("/pooling", json={"input": "a", "task": task})
    error = valid(response.json(), ERROR)["error"]
    assert (response.status_code, error["param"]) == (400, "task")
    assert error["code"] == ("unsupported_parameter" if task not in ("sing", 3) else "invalid_value")


async def test_pooling_needs_a_model_that_can() -> None:
    ranker = ScriptedPooler("score", "ranker")
    async with connect(ScriptedPooler(), classifier(), ranker) as http:
        valid(await post(http, "/pooling", input="a", task="score"), POOLED)
        assert len(ranker.requests) == 1
        for task, model in (("embed", "classes"), ("classify", "vectors"), ("score", "vectors"), ("score", "classes")):
            response = await http.post("/pooling", json={"input": "a", "task": task, "model": model})
            assert valid(response.json(), ERROR)["error"]["code"] == "unsupported_task"
        response = await http.post("/pooling", json={"input": "a", "task": "classify", "dimensions": 3})
        assert "dimensions" in response.headers["x-inglenook-warnings"]


# --- /predict -----------------------------------------------------------------------------------------


async def test_predict() -> None:
    pooler = classifier()
    async with connect(pooler) as http:
        one = valid(await post(http, "/predict", inputs="abb", truncate=True), PREDICTIONS)
        assert [item["label"] for item in one] == ["bliss", "anger", "none"]
        assert one[0]["score"] == pytest.approx(2 / 3)
        pair = valid(await post(http, "/predict", inputs=["ab", "b"], raw_scores=True), PREDICTIONS)
        assert pair[0]["score"] == pytest.approx(4 / 3)
        batch = valid(await post(http, "/predict", inputs=[["a"], ["b", "b"]]), PREDICTIONS)
        assert [items[0]["label"] for items in batch] == ["anger", "bliss"]
        assert [len(items) for items in valid(await post(http, "/predict", inputs=[["a"]]), PREDICTIONS)] == [3]
        assert valid(await post(http, "/predict", inputs=["a"]), PREDICTIONS)[0]["label"] == "anger"
    assert [request.inputs for request in pooler.requests] == [  # type: ignore[attr-defined]
        ("abb",),
        (TextPair("ab", "b"),),
        ("a", TextPair("b", "b")),
        ("a",),
        ("a",),
    ]
    assert isinstance(pooler.requests[1].inputs[0], TextPair)  # type: ignore[attr-defined]
    assert pooler.requests[0].truncate_prompt_tokens == -1


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({}, 422, "Validation"),
        ({"inputs": 3}, 422, "Validation"),
        ({"inputs": ["a", "b", "c"]}, 422, "Validation"),
        ({"inputs": [["a"], ["a", "b", "c"]]}, 422, "Validation"),
        ({"inputs": [["a"], []]}, 422, "Validation"),
        ({"inputs": ["a", 3]}, 422, "Validation"),
        ({"inputs": []}, 422, "Validation"),
        ({"inputs": [["a"]] * 2049}, 413, "Validation"),
        ({"inputs": "a", "truncate": 3}, 422, "Validation"),
        ({"inputs": "a", "model": "vectors"}, 424, "Backend"),
        ({"inputs": "a", "model": "nobody"}, 404, "model_not_found"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_refused_predictions(fields: dict[str, Any], status: int, kind: str) -> None:
    async with connect(classifier(), ScriptedPooler()) as http:
        response = await http.post("/predict", json=fields)
    assert (response.status_code, valid(response.json(), TEI_ERROR)["error_type"]) == (status, kind)


async def test_the_hosted_forms() -> None:
    async with connect(classifier()) as http:
        for path in ("/", "/models/classes", "/pipeline/text-classification/classes"):
            answer = await post(http, path, inputs="abb", parameters={"top_k": 2, "function_to_apply": "none"})
            assert [item["label"] for item in answer[0]] == ["bliss", "anger"]
            assert answer[0][0]["score"] == pytest.approx(4 / 3)
            assert len(await post(http, path, inputs=["a", "b"])) == 2
            response = await http.post(path, json={"inputs": "a", "parameters": {"candidate_labels": ["x"]}})
            assert response.status_code == 422 and "candidate_labels" in response.json()["error"]
