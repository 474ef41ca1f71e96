"""pyautogen 0.2.35: the documentation's currency calculator, with the default model and with a scripted one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fixtures.calls import call
from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

QUESTION = "How much is 123.45 EUR in USD?"


def test_the_currency_call_is_made_valid_and_run(server: Server, run_client: RunClient) -> None:
    """The documentation's functions and agents; which currencies a model of 135M picks is its affair."""
    history = run_client(
        "with_autogen_02",
        "currency_one_call",
        server,
        message=QUESTION,
        tool_choice="required",
        max_tokens=200,
        temperature=0,
    )
    calls, results = history[1]["tool_calls"], history[2]["tool_responses"]
    assert [c["function"]["name"] for c in calls] == ["currency_calculator"] * len(calls)
    assert [r["tool_call_id"] for r in results] == [c["id"] for c in calls]
    for made, result in zip(calls, results, strict=True):
        arguments = json.loads(made["function"]["arguments"])
        amount, currency = result["content"].split()
        assert currency == arguments.get("quote_currency", "EUR")
        float(amount)


def test_a_legacy_function_is_called_and_run(server: Server, run_client: RunClient) -> None:
    history = run_client(
        "with_autogen_02",
        "legacy_functions",
        server,
        message=QUESTION,
        function_call={"name": "currency_calculator"},
        max_tokens=200,
        temperature=0,
    )
    arguments = json.loads(history[1]["function_call"]["arguments"])
    assert history[2]["role"] == "function"
    assert history[2]["content"].split()[1] == arguments["quote_currency"]


# --- a scripted model -----------------------------------------------------------------------------


def test_the_documented_conversation(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    """The conversation of the documentation: the call, its result, the same call again, and a summary by the model."""
    exchange = call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD")
    scripted_server.play(exchange, exchange, "123.45 EUR is 135.80 USD.")
    outcome = run_client("with_autogen_02", "currency", scripted_server, message=QUESTION)
    asked, called, result, again = outcome["history"]
    assert asked["content"] == QUESTION
    for message in (called, again):
        [made] = message["tool_calls"]
        assert made["function"]["name"] == "currency_calculator"
        assert json.loads(made["function"]["arguments"]) == {
            "base_amount": 123.45,
            "base_currency": "EUR",
            "quote_currency": "USD",
        }
    assert called["tool_calls"][0]["id"] != again["tool_calls"][0]["id"]
    assert result["tool_responses"] == [
        {"tool_call_id": called["tool_calls"][0]["id"], "role": "tool", "content": "135.80 USD"}
    ]
    assert outcome["summary"] == "123.45 EUR is 135.80 USD."
    assert scripted_server.unplayed == []
    assert "135.80 USD" in scripted_server.prompts[1]


def test_an_answer_in_words_ends_the_conversation(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    exchange = call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD")
    scripted_server.play(exchange, "It is 135.80 USD. TERMINATE", "A sum was exchanged.")
    outcome = run_client("with_autogen_02", "currency", scripted_server, message=QUESTION, stream=True)
    assert outcome["history"][-1]["content"] == "It is 135.80 USD. TERMINATE"
    assert outcome["summary"] == "A sum was exchanged."


def test_the_documented_conversation_under_a_strict_template(
    strict_scripted_server: ScriptedServer, run_client: RunClient
) -> None:
    exchange = call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD")
    strict_scripted_server.play(exchange, "It is 135.80 USD. TERMINATE", "A sum was exchanged.")
    outcome = run_client("with_autogen_02", "currency", strict_scripted_server, message=QUESTION)
    assert outcome["history"][2]["tool_responses"][0]["content"] == "135.80 USD"
    assert outcome["summary"] == "A sum was exchanged."
    assert "135.80 USD" in strict_scripted_server.prompts[1]


def test_two_calls_at_once_are_both_answered(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    both = "\n".join(
        call("currency_calculator", base_amount=amount, base_currency="EUR", quote_currency="USD") for amount in (1, 2)
    )
    scripted_server.play(both, "1.10 and 2.20 USD. TERMINATE", "Sums were exchanged.")
    outcome = run_client("with_autogen_02", "currency", scripted_server, message=QUESTION)
    assert [r["content"] for r in outcome["history"][2]["tool_responses"]] == ["1.10 USD", "2.20 USD"]
    assert "1.10 USD" in scripted_server.prompts[1]
    assert "2.20 USD" in scripted_server.prompts[1]
