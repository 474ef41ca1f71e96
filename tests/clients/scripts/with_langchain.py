"""langchain-openai, as an application uses it."""

from typing import Literal

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

MODEL = "smollm2:135m"


@tool
def currency_calculator(
    base_amount: float, base_currency: Literal["USD", "EUR"], quote_currency: Literal["USD", "EUR"]
) -> str:
    """Currency exchange calculator."""
    rate = {("EUR", "USD"): 1.1, ("USD", "EUR"): 1 / 1.1}.get((base_currency, quote_currency), 1.0)
    return f"{base_amount * rate:.2f} {quote_currency}"


class Invoice(BaseModel):
    """An invoice."""

    customer: str = Field(description="Who pays", max_length=40)
    total: int = Field(description="The sum")
    currency: Literal["USD", "EUR"]
    is_paid: bool


def chat(**options):
    return ChatOpenAI(model=MODEL, temperature=0, **options)


def invoke(question):
    answer = chat(max_tokens=24).invoke([SystemMessage("Be brief."), HumanMessage(question)])
    return {"text": answer.content, "usage": answer.usage_metadata, "finish": answer.response_metadata["finish_reason"]}


def stream(question):
    llm = chat(max_tokens=24)
    pieces = list(llm.stream(question))
    whole = llm.invoke(question)
    return {"pieces": [piece.content for piece in pieces], "whole": whole.content}


async def batch(questions):
    answers = await chat(max_tokens=8).abatch(questions)
    return [answer.content for answer in answers]


def call_tool(question, tool_choice, is_streamed, **options):
    """One answer with a tool: its calls as LangChain has parsed them, and those that it couldn't."""
    llm = chat(max_tokens=200).bind_tools([currency_calculator], tool_choice=tool_choice, **options)
    if is_streamed:
        answer = None
        for piece in llm.stream(question):
            answer = piece if answer is None else answer + piece
    else:
        answer = llm.invoke(question)
    results = [currency_calculator.invoke(call).content for call in answer.tool_calls]
    return {
        "calls": answer.tool_calls,
        "invalid": answer.invalid_tool_calls,
        "results": results,
        "finish": answer.response_metadata["finish_reason"],
    }


def agent(question):
    """Ask, run what is called, give the results back, until there is nothing to call."""
    llm = chat().bind_tools([currency_calculator])
    messages = [SystemMessage("Use the tools."), HumanMessage(question)]
    results = []
    for _ in range(5):
        answer = llm.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            results.append(currency_calculator.invoke(call))
            assert isinstance(results[-1], ToolMessage)
            messages.append(results[-1])
    return {"results": [result.content for result in results], "answer": answer.content}


def structured(question, method, **options):
    """`method` is function_calling, json_schema or json_mode."""
    llm = chat(max_tokens=200).with_structured_output(Invoice, method=method, include_raw=True, **options)
    answer = llm.invoke(question)
    return {
        "parsed": answer["parsed"] and answer["parsed"].model_dump(),
        "error": answer["parsing_error"] and str(answer["parsing_error"]),
        "raw": answer["raw"].content,
    }


def structured_dict(question):
    """A schema as a dictionary instead of a class."""
    llm = chat(max_tokens=200).with_structured_output(Invoice.model_json_schema(), method="json_schema", strict=True)
    return llm.invoke(question)


def stream_structured(question):
    """The object as it grows."""
    return [part.model_dump() for part in chat(max_tokens=200).with_structured_output(Invoice).stream(question)]
