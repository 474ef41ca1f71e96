"""The official client: its own parsing and stream helpers, with the default model and with a scripted one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import jsonschema
import openai
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel, Field

from fixtures.calls import call
from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import ScriptedServer

MODEL = "smollm2:135m"
QUESTION: list[Any] = [{"role": "user", "content": "How much is 123.45 EUR in USD?"}]


class CurrencyCalculator(BaseModel):
    """Currency exchange calculator."""

    base_amount: float = Field(description="Amount of currency in base_currency")
    base_currency: Literal["USD", "EUR"]
    quote_currency: Literal["USD", "EUR"]


class Line(BaseModel):
    item: str = Field(max_length=20)
    count: int = Field(ge=0, le=99)


class Invoice(BaseModel):
    customer: str = Field(max_length=30)
    lines: list[Line] = Field(max_length=2)
    currency: Literal["USD", "EUR"]
    is_paid: bool


TOOL = pydantic_function_tool(CurrencyCalculator, name="currency_calculator")
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


EXCHANGE = call("currency_calculator", base_amount=123.45, base_currency="EUR", quote_currency="USD")


# --- tool calls, default model --------------------------------------------------------------------


@pytest.mark.parametrize(
    "tool_choice", ["required", {"type": "function", "function": {"name": "currency_calculator"}}], ids=["any", "named"]
)
def test_a_required_call_is_made_and_valid(server: Server, tool_choice: Any) -> None:
    answer = server.client().chat.completions.parse(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=tool_choice, max_tokens=200, temperature=0
    )
    choice = answer.choices[0]
    assert choice.message.tool_calls
    for made in choice.message.tool_calls:
        assert made.id
        assert made.function.name == "currency_calculator"
        assert isinstance(made.function.parsed_arguments, CurrencyCalculator)
    assert choice.finish_reason in ("tool_calls", "stop")  # "stop" with a named function, as in OpenAI's API


def test_streamed_calls_are_those_of_the_whole_answer(server: Server) -> None:
    request: dict[str, Any] = {
        "model": MODEL,
        "messages": QUESTION,
        "tools": [TOOL],
        "tool_choice": "required",
        "max_tokens": 200,
        "temperature": 0,
    }
    whole = server.client().chat.completions.create(**request)
    with server.client().chat.completions.stream(**request) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    pieces = "".join(event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta")
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    calls = final.choices[0].message.tool_calls
    assert calls
    assert pieces == "".join(made.function.arguments for made in calls)
    assert [event.index for event in done] == list(range(len(calls)))
    assert all(isinstance(event.parsed_arguments, CurrencyCalculator) for event in done)
    assert [made.function.arguments for made in whole.choices[0].message.tool_calls or ()] == [
        made.function.arguments for made in calls
    ]
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason


def test_one_of_several_tools_is_chosen(server: Server) -> None:
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in (TOOL, WEATHER)}
    for seed in range(4):
        answer = server.client().chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            tools=[TOOL, WEATHER],
            tool_choice="required",
            parallel_tool_calls=False,
            temperature=1.5,
            seed=seed,
            max_tokens=300,
        )
        [made] = answer.choices[0].message.tool_calls or ()
        if answer.choices[0].finish_reason != "length":
            jsonschema.validate(json.loads(made.function.arguments), schemas[made.function.name])


def test_no_call_when_none_may_be_made(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice="none", max_tokens=24, temperature=0
    )
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


def test_a_call_that_is_cut_off_says_so(server: Server) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        server.client().chat.completions.parse(
            model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice="required", max_tokens=12, temperature=0
        )


def test_a_legacy_function_is_called(server: Server) -> None:
    definition: Any = {"name": "currency_calculator", "parameters": TOOL["function"]["parameters"]}
    answer = server.client().chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        functions=[definition],
        function_call={"name": "currency_calculator"},
        max_tokens=200,
        temperature=0,
    )
    message = answer.choices[0].message
    assert message.function_call is not None
    CurrencyCalculator.model_validate_json(message.function_call.arguments)
    assert not message.tool_calls


# --- structured output, default model -------------------------------------------------------------


def test_parse_gives_the_object(server: Server) -> None:
    answer = server.client().chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Invoice, max_tokens=300, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Invoice)


def test_the_stream_helper_parses_as_it_grows(server: Server) -> None:
    # Not asked before: what repeats an earlier answer comes in few pieces.
    question: list[Any] = [{"role": "user", "content": "Write an invoice for two lamps."}]
    with server.client().chat.completions.stream(
        model=MODEL, messages=question, response_format=Invoice, max_tokens=300, temperature=0
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    snapshots = [event.parsed for event in events if event.type == "content.delta"]
    [done] = [event for event in events if event.type == "content.done"]
    assert len(snapshots) > 5
    assert isinstance(done.parsed, Invoice)
    assert final.choices[0].message.parsed == done.parsed


def test_json_mode(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe a cat as a JSON object."}],
        response_format={"type": "json_object"},
        max_tokens=400,
        temperature=0,
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_a_schema_that_cannot_be_held_is_refused_by_name(server: Server) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {}, "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError, match="uniqueItems"):
        server.client().chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}},
        )


def test_an_unknown_function_is_refused_by_name(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="no_such_function") as caught:
        server.client().chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "no_such_function"}},
        )
    assert caught.value.param == "tool_choice"


# --- a scripted model -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_words_and_a_call_in_auto(scripted_server: ScriptedServer, is_streamed: bool) -> None:
    scripted_server.play("Let me see.\n" + EXCHANGE)
    client = scripted_server.server.client()
    request: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "tools": [TOOL]}
    if is_streamed:
        with client.chat.completions.stream(**request) as stream:
            answer: Any = stream.get_final_completion()
    else:
        answer = client.chat.completions.create(**request)
    message = answer.choices[0].message
    [made] = message.tool_calls
    assert message.content.strip() == "Let me see."
    assert made.function.name == "currency_calculator"
    assert json.loads(made.function.arguments) == {
        "base_amount": 123.45,
        "base_currency": "EUR",
        "quote_currency": "USD",
    }
    assert answer.choices[0].finish_reason == "tool_calls"
    assert "currency_calculator" in scripted_server.prompts[0]


def test_two_calls_in_one_answer(scripted_server: ScriptedServer) -> None:
    scripted_server.play(EXCHANGE + "\n" + call("get_weather", city="Rome"))
    with scripted_server.server.client().chat.completions.stream(
        model=MODEL, messages=QUESTION, tools=[TOOL, WEATHER]
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [made.function.name for made in calls] == ["currency_calculator", "get_weather"]
    assert [made.index for made in calls] == [0, 1]
    assert len({made.id for made in calls}) == 2
    assert json.loads(calls[1].function.arguments) == {"city": "Rome"}


def test_words_alone_in_auto(scripted_server: ScriptedServer) -> None:
    scripted_server.play("I can't <b>know</b> {that}.")
    answer = scripted_server.server.client().chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL])
    assert answer.choices[0].message.content == "I can't <b>know</b> {that}."
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


def test_the_conversation_goes_on_behind_a_call(scripted_server: ScriptedServer) -> None:
    """What the client got back is what it sends: the message object itself, and a tool message."""
    scripted_server.play(EXCHANGE, "It is 135.80 USD.")
    client = scripted_server.server.client()
    first = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL]).choices[0].message
    [made] = first.tool_calls or ()
    history: list[Any] = [*QUESTION, first, {"role": "tool", "tool_call_id": made.id, "content": "135.80 USD"}]
    second = client.chat.completions.create(model=MODEL, messages=history, tools=[TOOL])
    assert second.choices[0].message.content == "It is 135.80 USD."
    assert "135.80 USD" in scripted_server.prompts[1]
    assert EXCHANGE in scripted_server.prompts[1], "the call as the model wrote it"


def test_arguments_that_break_the_schema_cannot_be_written(scripted_server: ScriptedServer) -> None:
    """In auto, too: once the call has begun, what the schema forbids has no probability left."""
    scripted_server.play(call("currency_calculator", base_amount=123.45, base_currency="GBP", quote_currency="USD"))
    with pytest.raises(openai.InternalServerError, match="left its script"):
        scripted_server.server.client().chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL])


def test_a_scripted_object(scripted_server: ScriptedServer) -> None:
    said = '{"customer": "Ann", "lines": [{"item": "peat", "count": 3}], "currency": "EUR", "is_paid": true}'
    scripted_server.play(said)
    answer = scripted_server.server.client().chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Invoice
    )
    assert answer.choices[0].message.content == said
    assert answer.choices[0].message.parsed == Invoice.model_validate_json(said)
