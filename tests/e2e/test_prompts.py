"""Prompts and tokens of the real default model: what is shown is what is generated from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fixtures.chat_templates import MISTRAL_STRICT
from fixtures.server_process import Server

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
GROUP_CHAT = [
    {"role": "system", "content": "You are in a role play game."},
    {"role": "user", "content": "Plan a trip.", "name": "Admin"},
    {"role": "user", "content": "", "name": "Admin"},
    {"role": "assistant", "content": "Rome?", "name": "Planner"},
    {"role": "user", "content": "Too hot.", "name": "Critic"},
    {"role": "system", "content": "Who speaks next?", "name": "checking_agent"},
]


def post(server: Server, path: str, body: Any) -> Any:
    response = httpx.post(f"{server.url}{path}", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("messages", [CHAT, GROUP_CHAT], ids=["chat", "group chat"])
def test_what_is_counted_is_what_is_used(server: Server, messages: Any) -> None:
    answer = server.client().chat.completions.create(model="", messages=messages, max_tokens=1)
    assert answer.usage is not None
    shown = post(server, "/v1/chat/completions/render", {"messages": messages})
    counts = {
        answer.usage.prompt_tokens,
        post(server, "/tokenize", {"messages": messages})["count"],
        post(server, "/v1/chat/completions/input_tokens", {"messages": messages})["input_tokens"],
        shown["count"],
        len(shown["token_ids"]),
    }
    assert len(counts) == 1
    assert shown["prompt"] == post(server, "/apply-template", {"messages": messages})["prompt"]
    assert post(server, "/detokenize", {"tokens": shown["token_ids"]})["prompt"] == shown["prompt"]
    assert shown["prompt"].startswith("<|im_start|>system\n") and shown["prompt"].count("<|im_start|>system") >= 1
    ids = server.client().completions.create(model="", prompt=shown["token_ids"], max_tokens=8, temperature=0)
    same = server.client().chat.completions.create(model="", messages=messages, max_tokens=8, temperature=0)
    assert ids.choices[0].text == same.choices[0].message.content


def test_tools_are_counted_too(server: Server) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    messages: Any = CHAT
    answer = server.client().chat.completions.create(model="", messages=messages, tools=tools, max_tokens=1)
    assert answer.usage is not None
    shown = post(server, "/v1/chat/completions/render", {"messages": CHAT, "tools": tools})
    assert answer.usage.prompt_tokens == shown["count"]
    assert shown["count"] == post(server, "/tokenize", {"messages": CHAT, "tools": tools})["count"]
    assert "weather" in shown["prompt"] and len(shown["warnings"]) == 1
    with_none = {"messages": CHAT, "tools": tools, "tool_choice": "none"}
    assert "weather" not in post(server, "/v1/chat/completions/render", with_none)["prompt"]


def test_tokens_of_a_text(server: Server) -> None:
    text = "Café <|im_end|> 你好"
    plain = post(server, "/tokenize", {"prompt": text, "return_token_strs": True})
    assert len(plain["token_strs"]) == plain["count"]
    assert post(server, "/detokenize", {"tokens": plain["tokens"]})["content"] == text
    pieces = post(server, "/tokenize", {"content": text, "with_pieces": True})["tokens"]
    data = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces)
    assert data.decode() == text
    spans = post(server, "/tokenize", {"inputs": text})
    assert [span["id"] for span in spans] == plain["tokens"]
    assert all(span["text"] == text[span["start"] : span["stop"]] for span in spans)
    completion = server.client().completions.create(model="", prompt=text, max_tokens=1)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == plain["count"]


def test_long_texts_are_counted_beside_other_requests(server: Server) -> None:
    text = "All work and no play makes Jack a dull boy. " * 20_000
    assert post(server, "/tokenize", {"prompt": text})["count"] > 100_000


def test_a_group_chat_on_a_strict_template(serve: Callable[..., Server], default_model: str, tmp_path: Path) -> None:
    file = tmp_path / "mistral.jinja"
    file.write_text(MISTRAL_STRICT)
    arguments = (default_model, "--chat-template", str(file), "--max-model-len", "512")
    server = serve(*arguments)
    answer = server.client().chat.completions.with_raw_response.create(model="", messages=GROUP_CHAT, max_tokens=4)  # type: ignore[arg-type]
    assert "no system message" in answer.headers["x-inglenook-warnings"]
    assert answer.parse().choices[0].message.content is not None
    shown = post(server, "/v1/chat/completions/render", {"messages": GROUP_CHAT})
    assert "Admin: Plan a trip.</s>" not in shown["prompt"] and "[INST] You are in a role play" in shown["prompt"]
    assert shown["prompt"].endswith("Critic: Too hot.\n\nWho speaks next? [/INST]")
    server.stop()
    strict = serve(*arguments, "--strict")
    with pytest.raises(openai.BadRequestError, match="--strict"):
        strict.client().chat.completions.create(model="", messages=GROUP_CHAT, max_tokens=4)  # type: ignore[arg-type]


def test_a_built_in_template_ends_answers_with_its_stop(serve: Callable[..., Server], default_model: str) -> None:
    server = serve(default_model, "--chat-template", "zero_shot", "--max-model-len", "512")
    shown = post(server, "/v1/chat/completions/render", {"messages": CHAT[1:]})
    assert shown["prompt"].endswith("\n### Human: Why is the sky blue?\n### Assistant:")
    answer = server.client().chat.completions.create(model="", messages=CHAT, max_tokens=100, temperature=0)
    assert "###" not in (answer.choices[0].message.content or "")


def test_the_example_of_the_documentation(server: Server) -> None:
    text = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    example = re.search(r"^\$ curl localhost:8000(\S+) -d '(.*)'\n(.*)$", text, re.MULTILINE)
    assert example is not None
    answer = post(server, example[1], json.loads(example[2]))
    assert answer == json.loads(example[3]) | {"max_model_len": answer["max_model_len"]}
