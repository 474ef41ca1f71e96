"""A model that thinks before it answers, calls or writes an object: what clients make of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

from fixtures.calls import call

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

MODEL = "smollm2:135m"
QUESTION: list[Any] = [{"role": "user", "content": "How much is 1 EUR in USD?"}]
THOUGHT = "<think>\nA sum.\n</think>\n\n"
CONVERT: Any = {
    "type": "function",
    "function": {
        "name": "convert",
        "parameters": {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]},
    },
}


class Sum(BaseModel):
    amount: float
    currency: Literal["USD", "EUR"]


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_words_behind_a_thought(thinking_scripted_server: ScriptedServer, is_streamed: bool) -> None:
    thinking_scripted_server.play(THOUGHT + "1.10 USD.")
    message = ask(thinking_scripted_server, is_streamed)
    assert message.reasoning_content.strip() == "A sum."
    assert message.content == "1.10 USD."


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_a_call_behind_a_thought(thinking_scripted_server: ScriptedServer, is_streamed: bool) -> None:
    thinking_scripted_server.play(THOUGHT + call("convert", amount=1))
    message = ask(thinking_scripted_server, is_streamed, tools=[CONVERT])
    [made] = message.tool_calls
    assert message.reasoning_content.strip() == "A sum."
    assert json.loads(made.function.arguments) == {"amount": 1}
    assert not message.content


def test_an_object_behind_a_thought(thinking_scripted_server: ScriptedServer) -> None:
    thinking_scripted_server.play(THOUGHT + '{"amount": 1.1, "currency": "USD"}')
    answer = thinking_scripted_server.server.client().chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Sum
    )
    assert answer.choices[0].message.parsed == Sum(amount=1.1, currency="USD")


def test_autogen_keeps_the_thought_apart(thinking_scripted_server: ScriptedServer, run_client: RunClient) -> None:
    thinking_scripted_server.play(THOUGHT + "1.10 USD.")
    answer = run_client("with_autogen_07", "think", thinking_scripted_server, question="How much?")
    assert (answer["text"], answer["thought"].strip()) == ("1.10 USD.", "A sum.")


def test_langchain_gets_the_answer_alone(thinking_scripted_server: ScriptedServer, run_client: RunClient) -> None:
    thinking_scripted_server.play(THOUGHT + "1.10 USD.", THOUGHT + "1.10 USD.")
    answer = run_client("with_langchain", "stream", thinking_scripted_server, question="How much?")
    assert "".join(answer["pieces"]) == answer["whole"] == "1.10 USD."


def ask(server: ScriptedServer, is_streamed: bool, **options: Any) -> Any:
    """The answer's message, by the client's own stream helper where it is streamed."""
    client = server.server.client()
    if not is_streamed:
        return client.chat.completions.create(model=MODEL, messages=QUESTION, **options).choices[0].message
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, **options) as stream:
        return stream.get_final_completion().choices[0].message
