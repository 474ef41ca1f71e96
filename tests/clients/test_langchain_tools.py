"""langchain-openai: tools and structured output, with the default model and with a scripted one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.calls import call
from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

EXCHANGE = "How much is 123.45 EUR in USD?"


# --- tools and structured output, default model ---------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_a_required_call_is_made_valid_and_run(server: Server, run_client: RunClient, is_streamed: bool) -> None:
    answer = run_client(
        "with_langchain", "call_tool", server, question=EXCHANGE, tool_choice="any", is_streamed=is_streamed
    )
    assert answer["invalid"] == []
    assert [call["name"] for call in answer["calls"]] == ["currency_calculator"] * len(answer["calls"])
    assert [result.split()[1] for result in answer["results"]] == [c["args"]["quote_currency"] for c in answer["calls"]]
    assert answer["results"]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output(server: Server, run_client: RunClient, method: str) -> None:
    answer = run_client("with_langchain", "structured", server, question="Write an invoice.", method=method)
    assert answer["error"] is None
    assert set(answer["parsed"]) == {"customer", "total", "currency", "is_paid"}


def test_structured_output_of_a_schema(server: Server, run_client: RunClient) -> None:
    answer = run_client("with_langchain", "structured_dict", server, question="Write an invoice.")
    assert answer["currency"] in ("USD", "EUR")


# --- a scripted model -----------------------------------------------------------------------------


def test_an_agent_comes_to_its_answer(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    scripted_server.play(
        call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD"),
        "123.45 EUR is 135.80 USD.",
    )
    outcome = run_client("with_langchain", "agent", scripted_server, question=EXCHANGE)
    assert outcome == {"results": ["135.80 USD"], "answer": "123.45 EUR is 135.80 USD."}
    assert "135.80 USD" in scripted_server.prompts[1]


def test_a_stream_of_calls_is_put_together(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    scripted_server.play(
        call("currency_calculator", base_amount=1, base_currency="EUR", quote_currency="USD")
        + "\n"
        + call("currency_calculator", base_amount=2, base_currency="USD", quote_currency="EUR")
    )
    answer = run_client(
        "with_langchain", "call_tool", scripted_server, question=EXCHANGE, tool_choice="auto", is_streamed=True
    )
    assert answer["invalid"] == []
    assert answer["results"] == ["1.10 USD", "1.82 EUR"]
    assert answer["finish"] == "tool_calls"


def test_an_object_grows(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    scripted_server.play('{"customer": "Ann", "total": 42, "currency": "EUR", "is_paid": true}')
    parts = run_client("with_langchain", "stream_structured", scripted_server, question="Write an invoice.")
    assert parts[-1] == {"customer": "Ann", "total": 42, "currency": "EUR", "is_paid": True}


def test_json_mode_gives_the_object(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    scripted_server.play('{"customer": "Ann", "total": 42, "currency": "EUR", "is_paid": true}')
    answer = run_client("with_langchain", "structured", scripted_server, question="Write JSON.", method="json_mode")
    assert answer["parsed"] == {"customer": "Ann", "total": 42, "currency": "EUR", "is_paid": True}
