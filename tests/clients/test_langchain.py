"""langchain-openai against the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient

SKY = "Why is the sky blue?"
EXCHANGE = "How much is 123.45 EUR in USD?"


def test_invoke(server: Server, run_client: RunClient) -> None:
    answer = run_client("with_langchain", "invoke", server, question=SKY)
    assert answer["text"]
    assert answer["finish"] in ("stop", "length")
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"]


def test_stream(server: Server, run_client: RunClient) -> None:
    answer = run_client("with_langchain", "stream", server, question="Describe a market in spring.")
    assert "".join(answer["pieces"]) == answer["whole"]
    assert len(answer["pieces"]) > 5, "a question of its own: what repeats an earlier answer comes in few pieces"


def test_batch(server: Server, run_client: RunClient) -> None:
    answers = run_client("with_langchain", "batch", server, questions=[SKY, "Hello!", SKY])
    assert answers[0] == answers[2] != answers[1]
