"""autogen-agentchat 0.7 against the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient

SKY = "Why is the sky blue?"
EXCHANGE = "How much is 123.45 EUR in USD?"


def test_create(server: Server, run_client: RunClient) -> None:
    answer = run_client("with_autogen_07", "create", server, question=SKY)
    assert answer["text"]
    assert answer["finish"] in ("stop", "length")
    assert answer["tokens"] > 20


def test_stream(server: Server, run_client: RunClient) -> None:
    answer = run_client("with_autogen_07", "stream", server, question="Describe a harbour in fog.")
    assert "".join(answer["pieces"]) == answer["whole"]
    assert len(answer["pieces"]) > 5, "a question of its own: what repeats an earlier answer comes in few pieces"


def test_agents_in_turn(server: Server, run_client: RunClient) -> None:
    sources = run_client("with_autogen_07", "team", server, question="Hello", max_messages=4, is_selected=False)
    assert sources == ["user", "writer", "critic", "writer"]


def test_the_model_chooses_who_speaks(server: Server, run_client: RunClient) -> None:
    sources = run_client("with_autogen_07", "team", server, question="Hello", max_messages=3, is_selected=True)
    assert len(sources) == 3
