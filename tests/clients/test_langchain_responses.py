"""langchain-openai over OpenAI's Responses, with a scripted model and the default one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.calls import call
from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

EXCHANGE = "How much is 123.45 EUR in USD?"


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("goes_on", [False, True], ids=["all", "what is new"])
def test_an_agent_comes_to_its_answer(
    scripted_server: ScriptedServer, run_client: RunClient, is_streamed: bool, goes_on: bool
) -> None:
    scripted_server.play(
        call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD"),
        "123.45 EUR is 135.80 USD.",
    )
    outcome = run_client(
        "with_langchain_responses",
        "agent",
        scripted_server,
        question=EXCHANGE,
        is_streamed=is_streamed,
        goes_on=goes_on,
    )
    assert outcome["results"] == ["135.80 USD"]
    assert outcome["answer"] == "123.45 EUR is 135.80 USD."
    _, second = scripted_server.prompts
    assert "135.80 USD" in second
    assert EXCHANGE in second
    assert outcome["usage"]["input_token_details"]["cache_read"] > 0


def test_structured_output(server: Server, run_client: RunClient) -> None:
    answer = run_client("with_langchain_responses", "structured", server, question="Write an invoice.")
    assert set(answer) == {"customer", "total", "currency", "is_paid"}


def test_thinking(thinking_scripted_server: ScriptedServer, run_client: RunClient) -> None:
    thinking_scripted_server.play("<think>\nHm, so.\n</think>\n\nYes.")
    answer = run_client("with_langchain_responses", "thought", thinking_scripted_server, question="Is it?")
    assert answer["text"] == "Yes."
    [block] = answer["thoughts"]
    assert block["content"] == [{"type": "reasoning_text", "text": "Hm, so."}]
    assert answer["usage"]["output_token_details"]["reasoning"] > 0
