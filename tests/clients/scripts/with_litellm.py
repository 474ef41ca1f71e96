"""litellm as a client: every provider whose API the server speaks, at the server's address."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch prices from the internet

import litellm

litellm.telemetry = False
V1 = os.environ["OPENAI_BASE_URL"]
ROOT = V1.removesuffix("/v1")
BASES = {
    "openai": V1,
    "hosted_vllm": V1,
    "litellm_proxy": V1,
    "huggingface": ROOT,
    "anthropic": ROOT,
    "ollama_chat": ROOT,
    "ollama": ROOT,
}
MESSAGES = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


def chat(provider, model, **options):
    """An answer, whole and streamed: text, finish reason, the usage of the whole one."""
    given = {"model": f"{provider}/{model}", "messages": MESSAGES, "api_base": BASES[provider], "api_key": "none"}
    given |= {"max_tokens": 8, "temperature": 0, **options}
    whole = litellm.completion(**given)
    chunks = list(litellm.completion(**given, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]
    usage = whole.usage
    return {
        "text": whole.choices[0].message.content,
        "finish_reason": whole.choices[0].finish_reason,
        "usage": [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
        "streamed": streamed,
        "streamed_reasons": reasons,
    }


def call(provider, model):
    """A tool that must be called."""
    answer = litellm.completion(
        model=f"{provider}/{model}",
        messages=[{"role": "user", "content": "How is the weather in Oslo?"}],
        api_base=BASES[provider],
        api_key="none",
        tools=[TOOL],
        tool_choice="required",
        max_tokens=100,
        temperature=0,
        _skip_mcp_handler=True,  # litellm imports it with tools, and doesn't ask for it
    )
    [called] = answer.choices[0].message.tool_calls
    return [answer.choices[0].finish_reason, called.function.name, called.function.arguments]


def complete(provider, model, base=V1, **options):
    answer = litellm.text_completion(
        model=f"{provider}/{model}",
        prompt="Once upon a time",
        api_base=base,
        api_key="none",
        max_tokens=8,
        temperature=0,
        **options,
    )
    return {"text": answer.choices[0].text, "finish_reason": answer.choices[0].finish_reason}


def embed(provider, model):
    answer = litellm.embedding(model=f"{provider}/{model}", input=["a", "b"], api_base=BASES[provider], api_key="none")
    return [len(item["embedding"]) for item in answer.data]


def error(provider, model):
    try:
        litellm.completion(model=f"{provider}/{model}", messages=MESSAGES, api_base=BASES[provider], api_key="none")
    except Exception as failure:
        return [type(failure).__name__, str(failure)]
    return None
