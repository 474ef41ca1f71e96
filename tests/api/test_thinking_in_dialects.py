"""Thinking and calls through the real parsers, as Anthropic's and Ollama's routes tell of them."""

from __future__ import annotations

import json
from typing import Any

from fixtures.anthropic_schemas import check_message
from fixtures.anthropic_schemas import joined as joined_events
from fixtures.ollama_schemas import joined, lines_of
from fixtures.served import Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer

# A template that switches thinking as Qwen's does, and calls as Hermes' does.
TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools> <tool_call>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n{% endif %}{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
THOUGHTS = "<think>\nLet me see.\n</think>\n\nBlue."
QUESTION: Any = [{"role": "user", "content": "Which colour?"}]
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 500, "messages": QUESTION}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'


def served(*texts: str) -> Served:
    return serve(
        byte_tokenizer(("<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>")), list(texts), TEMPLATE
    )


def prompt_of(one: Served) -> str:
    ids = one.engine.requests[-1].prompt_token_ids
    return one.engine.tokenizer.decode(ids, skip_special_tokens=False)


async def test_anthropic_thinking() -> None:
    one = served(THOUGHTS)
    body = {**ASKED, "thinking": {"type": "enabled", "budget_tokens": 400}}
    whole = check_message((await one.http.post("/messages", json=body)).json())
    streamed = joined_events((await one.http.post("/messages", json={**body, "stream": True})).text)
    assert whole["content"] == streamed["content"]
    assert [(block["type"], block.get("thinking", block.get("text"))) for block in whole["content"]] == [
        ("thinking", "Let me see."),
        ("text", "Blue."),
    ]
    counted = {"thinking_tokens": len("\nLet me see.\n") + 2}  # a token a byte, and the marks
    assert whole["usage"]["output_tokens_details"] == streamed["usage"]["output_tokens_details"] == counted
    again = [*QUESTION, {"role": "assistant", "content": whole["content"]}, {"role": "user", "content": "Why?"}]
    await one.http.post("/messages", json={**body, "messages": again})
    assert "<think>\nLet me see.\n</think>\nBlue." in prompt_of(one)


async def test_tokens_of_thinking_in_chats() -> None:
    one = served(THOUGHTS, THOUGHTS, "Blue.")
    counted = {"reasoning_tokens": len("\nLet me see.\n") + 2}
    whole = (await one.http.post("/chat/completions", json=ASKED)).json()
    assert whole["usage"]["completion_tokens_details"] == counted
    streamed = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    last = (await one.http.post("/chat/completions", json=streamed)).text.split("\n\n")[-3]
    assert json.loads(last.removeprefix("data: "))["usage"]["completion_tokens_details"] == counted
    assert "completion_tokens_details" not in (await one.http.post("/chat/completions", json=ASKED)).json()["usage"]


async def test_anthropic_without_thinking() -> None:
    """The template is told, and what is thought all the same is left out."""
    one = served("Blue.", THOUGHTS)
    for fields in ({}, {"thinking": {"type": "disabled"}}):
        whole = check_message((await one.http.post("/messages", json={**ASKED, **fields})).json())
        assert [block["type"] for block in whole["content"]] == ["text"]
        assert prompt_of(one).endswith("<think>\n\n</think>\n\n")


async def test_anthropic_calls() -> None:
    one = served(CALL)
    tool = {"name": "f", "input_schema": FUNCTION["parameters"]}
    body = {**ASKED, "tools": [tool], "tool_choice": {"type": "tool", "name": "f"}}
    whole = check_message((await one.http.post("/messages", json=body)).json())
    [call] = whole["content"]
    assert (whole["stop_reason"], call["name"], call["input"]) == ("tool_use", "f", {"x": 1})


async def test_ollama_thinking() -> None:
    one = served(THOUGHTS)
    for think in (None, True, "high"):
        body = {"model": "m", "messages": QUESTION, "think": think}
        told = joined(lines_of((await one.http.post("/api/chat", json=body)).text, is_chat=True))
        assert (told["thinking"], told["text"]) == ("Let me see.", "Blue.")
        body = {"model": "m", "prompt": "Which colour?", "think": think, "stream": False}
        generated = (await one.http.post("/api/generate", json=body)).json()
        assert (generated["thinking"], generated["response"]) == ("Let me see.", "Blue.")
        # What goes on from it begins after the end of this turn.
        assert generated["context"][-1] in one.engine.requests[-1].eos_token_ids
    one = served("Blue.")
    answer = (
        await one.http.post("/api/chat", json={"model": "m", "messages": QUESTION, "think": False, "stream": False})
    ).json()
    assert answer["message"] == {"role": "assistant", "content": "Blue."}
    assert prompt_of(one).endswith("<think>\n\n</think>\n\n")


async def test_ollama_calls() -> None:
    one = served(CALL)
    body = {"model": "m", "messages": QUESTION, "tools": [{"type": "function", "function": FUNCTION}]}
    lines = lines_of((await one.http.post("/api/chat", json=body)).text, is_chat=True)
    [call] = joined(lines)["calls"]
    assert call["function"] == {"index": 0, "name": "f", "arguments": {"x": 1}}
    assert lines[-1]["done_reason"] == "stop"
    past = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}
    body["messages"] = [*QUESTION, past, {"role": "tool", "tool_name": "f", "content": "2"}]
    await one.http.post("/api/chat", json=body)
    assert json.dumps({"x": 1}) in prompt_of(one) and "\n2<|im_end|>" in prompt_of(one)


async def test_shown_capabilities() -> None:
    shown = (await served("").http.post("/api/show", json={"model": "m"})).json()
    assert shown["capabilities"] == ["completion", "tools", "thinking"]


async def test_a_suffix_needs_a_model_for_it() -> None:
    one = served("a")
    for fields, name in (({"suffix": "end"}, "suffix"), ({"template": "{{ messages }}"}, "chat_template")):
        response = await one.http.post("/api/generate", json={"model": "m", "prompt": "Hi", **fields})
        assert response.status_code == 400 and name in response.json()["error"]
