"""Cohere's client against the server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from fixtures.server_process import Server
from fixtures.texts_to_compare import PARAPHRASES, UNRELATED

if TYPE_CHECKING:
    from conftest import RunClient

TEXTS = [*PARAPHRASES, *UNRELATED]
SCRIPT = "with_cohere"


@pytest.fixture(scope="module")
def expected(embedding_server: Server) -> list[list[float]]:
    answer = httpx.post(f"{embedding_server.url}/v1/embeddings", json={"input": TEXTS}).json()
    return [item["embedding"] for item in answer["data"]]


def test_all_types(embedding_server: Server, run_client: RunClient, expected: list[list[float]]) -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = run_client(SCRIPT, "embed", embedding_server, texts=TEXTS, types=types)
    found = answer["embeddings"]
    assert set(found) == set(types)
    assert found["float"] == expected
    assert [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in found["base64"]] == expected
    vectors, small = np.array(expected), np.array(found["int8"])
    assert np.abs(small).max(axis=1).tolist() == [127] * len(TEXTS)
    assert np.abs(small / 127 * np.abs(vectors).max(axis=1, keepdims=True) - vectors).max() < 0.002
    assert (np.array(found["uint8"]) - small == 128).all()
    assert (np.unpackbits(np.array(found["ubinary"], np.uint8), axis=1) == (vectors > 0)).all()
    assert (np.array(found["ubinary"]) - np.array(found["binary"]) == 128).all()
    assert answer["texts"] == TEXTS
    assert answer["tokens"] > len(TEXTS)


def test_contents(embedding_server: Server, run_client: RunClient, expected: list[list[float]]) -> None:
    assert run_client(SCRIPT, "embed_contents", embedding_server, texts=TEXTS) == expected


def test_the_first_version(embedding_server: Server, run_client: RunClient, expected: list[list[float]]) -> None:
    answer = run_client(SCRIPT, "embed_as_before", embedding_server, texts=TEXTS)
    assert answer == {"flat": expected, "typed": expected, "kinds": ["embeddings_floats", "embeddings_by_type"]}


def test_rerank(embedding_server: Server, run_client: RunClient) -> None:
    [[index, score]] = run_client(
        SCRIPT, "rerank", embedding_server, query=PARAPHRASES[0], documents=[*UNRELATED, PARAPHRASES[1]]
    )
    assert index == len(UNRELATED)
    assert score > 0.5


def test_refusals(embedding_server: Server, run_client: RunClient) -> None:
    (name, status, message), (other_name, other_status, other_message) = run_client(
        SCRIPT, "refusals", embedding_server, texts=TEXTS
    )
    assert (name, status) == ("NotFoundError", 404) and "'nobody'" in message
    assert (other_name, other_status) == ("BadRequestError", 400) and other_message.startswith("images:")
