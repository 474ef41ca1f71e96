"""A random classifier and a real embedding model behind a server, asked by huggingface_hub and by plain requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient

from fixtures.pooling_shapes import (
    CLASSES,
    COHERE_BY_TYPE,
    POOLED,
    PREDICTIONS,
    SIMILARITIES,
    TEI_ERROR,
    VECTORS,
    valid,
)
from fixtures.server_process import Server, start_server
from fixtures.tiny_encoders import save_tiny_encoder
from inglenook import LLM

TEXTS = ["abc", "the cat sat", "zebra zebra 12345"]


@pytest.fixture(scope="module")
def classifier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = save_tiny_encoder(tmp_path_factory.mktemp("classifier"), "bert-classifier")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(code) for code in range(97, 123))]
    words += [f"##{word}" for word in words[5:]] + [str(number) for number in range(10)]
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder


@pytest.fixture(scope="module")
def server(classifier_folder: Path, embedding_model: str) -> Iterator[Server]:
    running = start_server("--model", str(classifier_folder), "--model", embedding_model)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def post(http: httpx.Client, path: str, **fields: Any) -> Any:
    answer = http.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_classes(http: httpx.Client, server: Server, classifier_folder: Path) -> None:
    with LLM(str(classifier_folder)) as llm:
        known = llm.classify(TEXTS)
        assert set(known[0].labels) == {"joy", "grief", "none"}
    data = valid(post(http, "/v1/classify", input=TEXTS), CLASSES)["data"]
    assert [(item["label"], tuple(item["probs"])) for item in data] == [(item.label, item.probs) for item in known]
    batch = valid(post(http, "/predict", inputs=[[text] for text in TEXTS]), PREDICTIONS)
    assert [{item["label"]: item["score"] for item in items} for items in batch] == [
        dict(zip(item.labels, item.probs, strict=True)) for item in known
    ]
    assert [items[0]["label"] for items in batch] == [item.label for item in known]
    pair = valid(post(http, "/predict", inputs=["abc", "the cat"]), PREDICTIONS)
    assert pair != valid(post(http, "/predict", inputs="abc"), PREDICTIONS)
    pooled = valid(post(http, "/pooling", input=TEXTS, task="classify"), POOLED)["data"]
    assert [item["data"] for item in pooled] == [pytest.approx(list(item.probs), rel=1e-6) for item in known]
    client = InferenceClient(f"{server.url}/models/{classifier_name(http)}")
    for text, item in zip(TEXTS, known, strict=True):
        found = client.text_classification(text)
        assert [(one.label, one.score) for one in found] == sorted(
            zip(item.labels, item.probs, strict=True), key=lambda one: -one[1]
        )
    assert len(client.text_classification(TEXTS[0], top_k=1)) == 1
    raw = client.text_classification(TEXTS[0], function_to_apply="none")
    assert sum(one.score for one in raw) != pytest.approx(1)


def classifier_name(http: httpx.Client) -> str:
    """The classifier's, as it is listed."""
    models = http.get("/v1/models").json()["data"]
    return next(str(model["id"]) for model in models if model["task"] == "classify")


def test_what_a_classifier_does_not_do(http: httpx.Client) -> None:
    name = classifier_name(http)
    for path, fields in (
        ("/v1/embeddings", {"input": "a"}),
        ("/rerank", {"query": "a", "documents": ["b"]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    ):
        answer = http.post(path, json={"model": name, **fields})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_task")
        assert "sorts texts into classes" in answer.json()["error"]["message"]


def test_vectors_in_all_forms(http: httpx.Client, embedding_model: str) -> None:
    """As LangChain's endpoint of Hugging Face posts them, as Text Embeddings Inference's clients do, as Cohere's do."""
    data = post(http, "/v1/embeddings", input=TEXTS, model=embedding_model)["data"]
    known = [item["embedding"] for item in data]
    assert valid(post(http, "/embed", inputs=TEXTS), VECTORS) == known
    assert valid(post(http, "/embed", inputs=TEXTS, normalize=True, truncate=True), VECTORS) == known
    assert post(http, f"/models/{embedding_model}/pipeline/feature-extraction", inputs=TEXTS) == known
    cohere = valid(post(http, "/v2/embed", texts=TEXTS, embedding_types=["float", "int8", "ubinary"]), COHERE_BY_TYPE)
    assert cohere["embeddings"]["float"] == known
    vectors = np.array(known)
    small = np.array(cohere["embeddings"]["int8"], float)
    cosines = (small * vectors).sum(1) / np.linalg.norm(small, axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > 0.9995
    assert np.array_equal(np.unpackbits(np.array(cohere["embeddings"]["ubinary"], np.uint8), axis=1), vectors > 0)
    pooled = valid(post(http, "/pooling", input=TEXTS, model=embedding_model), POOLED)["data"]
    assert [item["data"] for item in pooled] == known
    scores = valid(
        post(http, "/similarity", inputs={"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}), SIMILARITIES
    )
    assert scores == pytest.approx([float(vectors[0] @ other) for other in vectors[1:]], abs=1e-6)


def test_what_is_too_long(http: httpx.Client) -> None:
    long = "word " * 300
    answer = http.post("/embed", json={"inputs": long})
    assert (answer.status_code, valid(answer.json(), TEI_ERROR)["error_type"]) == (413, "Validation")
    assert len(valid(post(http, "/embed", inputs=long, truncate=True), VECTORS)) == 1
    cut = valid(post(http, "/v2/embed", texts=[long]), COHERE_BY_TYPE)
    assert "Cut to 256 tokens" in cut["meta"]["warnings"][0]
    assert http.post("/v2/embed", json={"texts": [long], "truncate": "NONE"}).status_code == 400
