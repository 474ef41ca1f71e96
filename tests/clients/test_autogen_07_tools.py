"""autogen-agentchat 0.7: tools and structured output, with the default model and with a scripted one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fixtures.calls import call
from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

EXCHANGE = "How much is 123.45 EUR in USD?"


# --- tools and structured output, default model ---------------------------------------------------


def test_a_required_call_is_made_valid_and_run(server: Server, run_client: RunClient) -> None:
    outcome = run_client("with_autogen_07", "required_call", server, question=EXCHANGE)
    assert outcome["finish"] == "function_calls"
    assert outcome["calls"]
    for made in outcome["calls"]:
        assert made["id"]
        assert made["name"] == "currency_calculator"
        assert made["result"].split()[1] in ("USD", "EUR")


def test_an_answer_that_is_an_object(server: Server, run_client: RunClient) -> None:
    invoice = run_client("with_autogen_07", "structured", server, question="Write an invoice.")
    assert set(invoice) == {"customer", "total", "currency"}


@pytest.mark.parametrize("is_schema", [True, False], ids=["schema", "any"])
def test_json_output(server: Server, run_client: RunClient, is_schema: bool) -> None:
    text = run_client(
        "with_autogen_07", "json_output", server, question="Write an invoice as JSON.", is_schema=is_schema
    )
    assert text.startswith("{")
    if is_schema:
        assert set(json.loads(text)) == {"customer", "total", "currency"}


# --- a scripted model -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_the_currency_conversation(scripted_server: ScriptedServer, run_client: RunClient, is_streamed: bool) -> None:
    scripted_server.play(
        call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD"),
        "123.45 EUR is 135.80 USD.",
    )
    outcome = run_client("with_autogen_07", "currency", scripted_server, question=EXCHANGE, is_streamed=is_streamed)
    assert outcome["results"] == [{"text": "135.80 USD", "is_error": False, "name": "currency_calculator"}]
    assert outcome["answer"] == "123.45 EUR is 135.80 USD."
    assert "135.80 USD" in scripted_server.prompts[1]
