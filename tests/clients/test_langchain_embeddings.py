"""OpenAIEmbeddings of langchain-openai against the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from fixtures.server_process import Server, start_server
from fixtures.texts_to_compare import PARAPHRASES, UNRELATED

if TYPE_CHECKING:
    from conftest import RunClient

TEXTS = [*PARAPHRASES, *UNRELATED]
SCRIPT = "with_langchain_embeddings"


@pytest.fixture(scope="module")
def vectors_server(embedding_model: str) -> Iterator[Server]:
    running = start_server(embedding_model)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def expected(vectors_server: Server) -> list[list[float]]:
    answer = httpx.post(f"{vectors_server.url}/v1/embeddings", json={"input": TEXTS}).json()
    return [item["embedding"] for item in answer["data"]]


def test_texts(vectors_server: Server, run_client: RunClient, expected: list[list[float]]) -> None:
    answer = run_client(SCRIPT, "embed", vectors_server, texts=TEXTS)
    assert answer == {"documents": expected, "query": expected[0]}


def test_lists_of_token_ids(vectors_server: Server, run_client: RunClient, expected: list[list[float]]) -> None:
    """It scales what it gets, so the last bits differ."""
    np.testing.assert_allclose(run_client(SCRIPT, "embed_token_ids", vectors_server, texts=TEXTS), expected, atol=1e-6)


def test_asynchronously(vectors_server: Server, run_client: RunClient, expected: list[list[float]]) -> None:
    assert run_client(SCRIPT, "embed_many", vectors_server, texts=TEXTS) == expected
