"""autogen-agentchat 0.7 with autogen-ext's OpenAI client."""

import json
import os
from typing import Annotated, Literal

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, StructuredMessage, ToolCallExecutionEvent
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from autogen_core import CancellationToken
from autogen_core.models import ModelInfo, UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel, Field

CurrencySymbol = Literal["USD", "EUR"]


class Invoice(BaseModel):
    customer: str = Field(max_length=40)
    total: int
    currency: CurrencySymbol


def currency_calculator(
    base_amount: Annotated[float, "Amount of currency in base_currency"],
    base_currency: Annotated[CurrencySymbol, "Base currency"],
    quote_currency: Annotated[CurrencySymbol, "Quote currency"],
) -> str:
    """Currency exchange calculator."""
    rate = {("EUR", "USD"): 1.1, ("USD", "EUR"): 1 / 1.1}.get((base_currency, quote_currency), 1.0)
    return f"{base_amount * rate:.2f} {quote_currency}"


def model_client(**options):
    return OpenAIChatCompletionClient(
        model="smollm2:135m",
        base_url=os.environ["OPENAI_BASE_URL"],
        api_key="none",
        model_info=ModelInfo(
            vision=False, function_calling=True, json_output=True, structured_output=True, family="unknown"
        ),
        temperature=0,
        **options,
    )


async def create(question):
    result = await model_client(max_tokens=24).create([UserMessage(content=question, source="user")])
    num_tokens = result.usage.prompt_tokens + result.usage.completion_tokens
    return {"text": result.content, "finish": result.finish_reason, "tokens": num_tokens}


async def think(question):
    result = await model_client().create([UserMessage(content=question, source="user")])
    return {"text": result.content, "thought": result.thought}


async def stream(question):
    """The pieces of an agent's answer, and its message at the end."""
    agent = AssistantAgent("assistant", model_client(max_tokens=24), model_client_stream=True)
    pieces, last = [], None
    async for event in agent.run_stream(task=question):
        if isinstance(event, ModelClientStreamingChunkEvent):
            pieces.append(event.content)
        last = event
    return {"pieces": pieces, "whole": last.messages[-1].content}


async def required_call(question):
    """One answer that has to be a call, and what comes of running it. (Agents leave the choice to the model.)"""
    calculator = FunctionTool(currency_calculator, description="Currency exchange calculator.")
    result = await model_client(max_tokens=200).create(
        [UserMessage(content=question, source="user")], tools=[calculator], tool_choice="required"
    )
    outcomes = [
        {
            "name": call.name,
            "id": call.id,
            "result": await calculator.run_json(json.loads(call.arguments), CancellationToken()),
        }
        for call in result.content
    ]
    return {"calls": outcomes, "finish": result.finish_reason}


async def currency(question, is_streamed=False):
    """An agent with the currency tool: what it called, what that gave, what it said."""
    agent = AssistantAgent(
        "assistant",
        model_client(max_tokens=200),
        tools=[currency_calculator],
        reflect_on_tool_use=True,
        model_client_stream=is_streamed,
        system_message="Use the tools.",
    )
    result = await agent.run(task=question)
    results = [r for m in result.messages if isinstance(m, ToolCallExecutionEvent) for r in m.content]
    return {
        "results": [{"text": r.content, "is_error": r.is_error, "name": r.name} for r in results],
        "answer": result.messages[-1].content,
    }


async def structured(question):
    """An agent whose answer is an object."""
    agent = AssistantAgent("assistant", model_client(max_tokens=200), output_content_type=Invoice)
    message = (await agent.run(task=question)).messages[-1]
    assert isinstance(message, StructuredMessage)
    return message.content.model_dump()


async def json_output(question, is_schema):
    result = await model_client(max_tokens=200).create(
        [UserMessage(content=question, source="user")], json_output=Invoice if is_schema else True
    )
    return result.content


async def team(question, max_messages, is_selected):
    """Two agents in turn, or chosen by the model."""
    client = model_client(max_tokens=16)
    agents = [AssistantAgent(name, client, description=f"The {name}.") for name in ("writer", "critic")]
    end = MaxMessageTermination(max_messages)
    if is_selected:
        chat = SelectorGroupChat(agents, client, termination_condition=end)
    else:
        chat = RoundRobinGroupChat(agents, termination_condition=end)
    result = await chat.run(task=question)
    return [message.source for message in result.messages]
