"""langchain-openai over OpenAI's Responses."""

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from with_langchain import MODEL, Invoice, currency_calculator


def chat(**options):
    return ChatOpenAI(model=MODEL, temperature=0, use_responses_api=True, **options)


def agent(question, is_streamed, goes_on):
    """Ask, run what is called, give the results back. `goes_on`: only what is new is sent."""
    llm = chat(use_previous_response_id=goes_on, include=None).bind_tools([currency_calculator])
    messages = [SystemMessage("Use the tools."), HumanMessage(question)]
    results = []
    for _ in range(5):
        if is_streamed:
            answer = None
            for piece in llm.stream(messages):
                answer = piece if answer is None else answer + piece
        else:
            answer = llm.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            results.append(currency_calculator.invoke(call))
            messages.append(results[-1])
    return {"results": [result.content for result in results], "answer": answer.text, "usage": answer.usage_metadata}


def structured(question):
    return chat(max_tokens=200).with_structured_output(Invoice, method="json_schema").invoke(question).model_dump()


def thought(question):
    answer = chat().invoke(question)
    blocks = [block for block in answer.content if block["type"] == "reasoning"]
    return {"text": answer.text, "thoughts": blocks, "usage": answer.usage_metadata}
