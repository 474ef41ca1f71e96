"""Routes that show prompts and tokens, over a scripted back end: vLLM's, llama.cpp's and TGI's shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from inglenook.types import ChatRequest, CompletionRequest

if TYPE_CHECKING:
    from conftest import ScriptedBackend

MESSAGES = [{"role": "user", "content": "Hi"}]


async def post(http: httpx.AsyncClient, path: str, body: Any, status: int = 200) -> Any:
    response = await http.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_tokenize_as_vllm(http: httpx.AsyncClient, backend: ScriptedBackend, prefix: str) -> None:
    answer = await post(http, f"{prefix}/tokenize", {"model": "tiny", "prompt": "ab"})
    assert answer == {"count": 2, "max_model_len": 512, "tokens": [97, 98], "token_strs": None}
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest) and request.add_special_tokens
    answer = await post(http, "/tokenize", {"prompt": "ab", "add_special_tokens": False, "return_token_strs": True})
    assert answer["token_strs"] == ["A", "B"]
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest) and not request.add_special_tokens
    assert (await post(http, "/tokenize", {"prompt": ""}))["count"] == 0


async def test_tokenize_messages(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    body = {
        "messages": MESSAGES,
        "tools": tools,
        "add_generation_prompt": False,
        "continue_final_message": True,
        "add_special_tokens": False,
        "chat_template_kwargs": {"x": 1},
        "nonsense": 1,
    }
    response = await http.post("/tokenize", json=body)
    assert response.json() == {
        "count": 4,
        "max_model_len": 512,
        "tokens": [99, 104, 97, 116],
        "token_strs": None,
        "warnings": ["Changed a thing."],
    }
    assert response.headers["x-inglenook-warnings"] == "unknown fields ignored: nonsense; Changed a thing."
    request = backend.requests[-1]
    assert isinstance(request, ChatRequest)
    assert (request.add_generation_prompt, request.continue_final_message) == (False, True)
    assert request.tool_use.tools[0].name == "f"
    assert request.chat_template_kwargs == {"x": 1}


async def test_tokenize_as_llama_cpp(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    assert await post(http, "/tokenize", {"content": "ab"}) == {"tokens": [97, 98]}
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest) and not request.add_special_tokens
    answer = await post(http, "/tokenize", {"content": "a", "add_special": True, "with_pieces": True})
    assert answer == {"tokens": [{"id": 97, "piece": "a"}]}
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest) and request.add_special_tokens
    error = await post(http, "/tokenize", {"content": "a", "parse_special": False}, 400)
    assert error["error"]["param"] == "parse_special"


async def test_tokenize_as_text_generation_inference(http: httpx.AsyncClient) -> None:
    answer = await post(http, "/tokenize", {"inputs": "ab", "parameters": {"max_new_tokens": 1}})
    assert answer == [{"id": 97, "text": "a", "start": 0, "stop": 1}, {"id": 98, "text": "b", "start": 1, "stop": 2}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "content": "b"}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"inputs": ["a"]}, "inputs"),
        ({"messages": "Hi"}, "messages"),
    ],
)
async def test_bodies_that_say_nothing(http: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
    assert (await post(http, "/tokenize", body, 400))["error"]["param"] == param


async def test_detokenize(http: httpx.AsyncClient) -> None:
    assert await post(http, "/detokenize", {"tokens": [97, 98]}) == {"prompt": "ab", "content": "ab"}
    assert await post(http, "/v1/detokenize", {"tokens": []}) == {"prompt": "", "content": ""}
    for tokens in (None, "ab", [-1], ["a"], [1.5]):
        await post(http, "/detokenize", {"tokens": tokens}, 400)


async def test_render(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/chat/completions/render", json={"messages": MESSAGES, "temperature": 0.5})
    assert response.json() == {
        "object": "prompt",
        "model": "tiny",
        "prompt": "chat",
        "token_ids": [99, 104, 97, 116],
        "count": 4,
        "max_model_len": 512,
        "warnings": ["Changed a thing."],
    }
    assert response.headers["x-inglenook-warnings"] == "Changed a thing."
    answer = await post(http, "/completions/render", {"model": "org/model", "prompt": ["a", "bc"]})
    assert [(one["model"], one["prompt"], one["token_ids"]) for one in answer] == [
        ("org/model", "a", [97]),
        ("org/model", "bc", [98, 99]),
    ]


async def test_llama_cpps_template_and_counter(http: httpx.AsyncClient) -> None:
    assert await post(http, "/apply-template", {"messages": MESSAGES}) == {"prompt": "chat"}
    answer = await post(http, "/v1/chat/completions/input_tokens", {"messages": MESSAGES})
    assert answer == {"object": "response.input_tokens", "input_tokens": 4}


async def test_unknown_model(http: httpx.AsyncClient) -> None:
    for path, body in (
        ("/tokenize", {"prompt": "a"}),
        ("/detokenize", {"tokens": []}),
        ("/chat/completions/render", {"messages": MESSAGES}),
        ("/completions/render", {"prompt": "a"}),
        ("/apply-template", {"messages": MESSAGES}),
    ):
        error = await post(http, path, {"model": "nobody", **body}, 404)
        assert error["error"]["code"] == "model_not_found"
