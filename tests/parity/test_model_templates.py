"""The chat templates of public models, rendered as transformers renders them; and any list of messages through them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from transformers.utils.chat_template_utils import render_jinja_template

from fixtures.message_lists import chats, tool_use
from fixtures.model_templates import model_templates
from inglenook.errors import InvalidRequestError
from inglenook.text import jinja_environment
from inglenook.text.chat_template import ChatTemplate
from inglenook.text.normalize import render_chat
from inglenook.types import Message, Tool, ToolUse

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES = model_templates()
MULTIMODAL = {name for name in TEMPLATES if name.startswith(("trl:idefics", "trl:smolvlm", "trl:llava"))}
COMPILED = {name: ChatTemplate(source, TOKENS) for name, source in TEMPLATES.items()}


def call(arguments: Any, call_id: str = "abcdefghi") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "get_rate", "arguments": arguments}}


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_rate",
            "description": "Exchange <rate> → 'EUR' & \"USD\".\nOf today.",
            "parameters": {
                "type": "object",
                "properties": {
                    "base": {"type": "string", "enum": ["USD", "EUR"], "description": "From."},
                    "amount": {"type": "number", "default": 1.5},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["base"],
            },
        },
    },
    {"type": "function", "function": {"name": "ping", "parameters": {"type": "object", "properties": {}}}},
]
ARGUMENTS = {"base": "EUR", "amount": 123.45, "note": "ü <b>", "list": [1, None, True], "deep": {"a": {}}}
QUESTION = {"role": "user", "content": "How much is 123.45 EUR in USD?"}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "user": [{"role": "user", "content": "Hi"}],
    "system": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "  Hi  "}],
    "turns": [
        {"role": "system", "content": "Rules."},
        {"role": "user", "content": "One\n\ntwo"},
        {"role": "assistant", "content": "\nthree", "reasoning_content": "\nhm\n"},
        {"role": "user", "content": "<|im_end|> {{ evil }} {% raw %}", "name": "Bob"},
        {"role": "assistant", "content": "<think>\nwhy\n</think>\n\nfour "},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "five", "reasoning": "because"},
    ],
    "neighbours": [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "system", "content": "d"},
    ],
    "assistants": [{"role": "assistant", "content": "You are Bob."}, {"role": "assistant", "content": ""}],
    "developer": [{"role": "developer", "content": "Rules."}, {"role": "user", "content": "Hi"}],
    "tools": [
        {"role": "system", "content": "Use tools."},
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [call(ARGUMENTS)]},
        {"role": "tool", "content": '{"usd": 135.80}', "tool_call_id": "abcdefghi", "name": "get_rate"},
        {"role": "assistant", "content": "135.80 USD.", "tool_calls": None},
        {"role": "user", "content": "Thanks"},
    ],
    "parallel": [
        QUESTION,
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "I need both.",
            "tool_calls": [call(json.dumps(ARGUMENTS)), call({}, "jklmnopqr")],
        },
        {"role": "tool", "content": "1", "tool_call_id": "abcdefghi"},
        {"role": "tool", "content": "2", "tool_call_id": "jklmnopqr"},
    ],
    "null": [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call({"base": "EUR"})]}],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "prompt": {"add_generation_prompt": True},
    "closed": {"add_generation_prompt": False},
    "continued": {"add_generation_prompt": False, "continue_final_message": True},
    "tools": {"add_generation_prompt": True, "tools": TOOLS},
    "documents": {"add_generation_prompt": True, "documents": [{"title": "T", "text": "x\ny"}, {"text": "<z>"}]},
    "thinking": {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
    "no thinking": {"add_generation_prompt": True, "enable_thinking": False, "thinking": False, "tools": TOOLS},
}


class _Noon(datetime):
    """Templates write the time: it must not change between two renderings."""

    @classmethod
    def now(cls, tz: Any = None) -> _Noon:
        return cls(2026, 2, 3, 12, 0)


@pytest.fixture(autouse=True)
def _same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja_environment, "datetime", _Noon)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", _Noon)


def by_transformers(
    source: str, messages: list[dict[str, Any]], options: Mapping[str, Any]
) -> tuple[str, Exception | None]:
    """As apply_chat_template does it: without the keys whose value is None."""
    given = [{key: value for key, value in message.items() if value is not None} for message in messages]
    try:
        rendered, _ = render_jinja_template([given], chat_template=source, **{**TOKENS, **options})
    except Exception as refusal:
        return "", refusal
    return rendered[0], None


@pytest.mark.parametrize("name", TEMPLATES)
def test_renders_byte_for_byte(name: str) -> None:
    template = COMPILED[name]
    num_rendered = 0
    for conversation, messages in CONVERSATIONS.items():
        for option, options in OPTIONS.items():
            expected, refusal = by_transformers(TEMPLATES[name], messages, options)
            if refusal is None:
                assert template.render(messages, **options) == expected, (conversation, option)
                num_rendered += 1
                continue
            with pytest.raises(InvalidRequestError) as error:
                template.render(messages, **options)
            if not isinstance(refusal, ValueError):  # a ValueError is of continue_final_message
                assert str(refusal)[:200] in error.value.message, (conversation, option)
    assert num_rendered >= len(OPTIONS) - 1, "texts are compared, not only refusals"


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_needs_no_change_is_not_changed(name: str) -> None:
    """The whole way from messages gives transformers' prompt, unless it says what it changed."""
    use = ToolUse(tuple(Tool(tool["function"]["name"], tool) for tool in TOOLS))
    for conversation, messages in CONVERSATIONS.items():
        given = [
            Message(
                m["role"],
                m["content"],
                m.get("name"),
                {
                    key: value
                    for key, value in m.items()
                    if key not in ("role", "content", "name") and value is not None
                },
            )
            for m in messages
        ]
        for has_tools in (False, True):
            rendered = render_chat(COMPILED[name], given, tool_use=use if has_tools else ToolUse())
            if rendered.warnings:
                continue
            options = {"add_generation_prompt": True, "tools": TOOLS if has_tools else None}
            forms = _forms(messages, is_multimodal=name in MULTIMODAL)
            prompts = [by_transformers(TEMPLATES[name], form, options) for form in forms]
            assert rendered.prompt in [prompt for prompt, refusal in prompts if refusal is None], conversation
            if not any(message.get("tool_calls") for message in messages) and name not in MULTIMODAL:
                assert rendered.prompt == prompts[0][0], conversation


def _forms(messages: list[dict[str, Any]], *, is_multimodal: bool) -> list[list[dict[str, Any]]]:
    """The same messages as given, and with what a template may want in another form: arguments as object or text,
    null as empty text, content as parts."""

    def arguments(value: Any, kind: type) -> Any:
        if kind is str:
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return json.loads(value) if isinstance(value, str) else value

    def fit(message: dict[str, Any], kind: type | None, has_null: bool) -> dict[str, Any]:
        message = dict(message)
        if message["content"] is None and not has_null:
            message["content"] = ""
        if is_multimodal:
            message["content"] = [{"type": "text", "text": message["content"]}]
        if kind is not None and message.get("tool_calls"):
            calls = [{**c, "function": dict(c["function"])} for c in message["tool_calls"]]
            for made in calls:
                made["function"]["arguments"] = arguments(made["function"]["arguments"], kind)
            message["tool_calls"] = calls
        return message

    return [[fit(m, kind, has_null) for m in messages] for kind in (None, dict, str) for has_null in (True, False)]


@pytest.mark.parametrize(
    "name",
    ["mistral-instruct-v0.1", "mistral-instruct-v0.3", "gemma-3-1b-it", "gpt-oss", "HuatuoGPT-o1-LLaMA-3.1", "qwen3.6"],
)
@settings(deadline=None, max_examples=40)
@given(chat=chats(), use=tool_use())
def test_any_list_is_rendered_and_nothing_is_lost(name: str, chat: list[Message], use: ToolUse) -> None:
    rendered = render_chat(COMPILED[name], chat, tool_use=use)
    missing = [message.content for message in chat if message.content and message.content not in rendered.prompt]
    assert missing == [], (rendered, chat)
