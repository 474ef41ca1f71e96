"""POST /llm/ over an engine that plays texts: both answers' shapes, transformers' arguments, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest

from fixtures.flask_schemas import ANSWER
from fixtures.served import TEMPLATE, Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.engine.request import EngineRequest

if TYPE_CHECKING:
    from conftest import ScriptedBackend

DIALOGUE = [
    {"role": "system", "name": "system", "content": "Be brief."},
    {"role": "user", "name": "Bob", "content": "Hi"},
    {"role": "assistant", "name": "Eve", "content": "Hello"},
    {"role": "user", "name": "Ann", "content": "Bye"},
]


def served(*texts: str) -> Served:
    return serve(byte_tokenizer(()), list(texts or ("An answer.",)), TEMPLATE)


async def ask(server: Served, status: int = 200, **body: Any) -> Any:
    response = await server.http.post("http://test/llm/", json=body)
    assert response.status_code == status, response.text
    if status == 200:
        jsonschema.validate(response.json(), ANSWER)
    return response.json()


def prompt_of(request: EngineRequest) -> str:
    return bytes(request.prompt_token_ids).decode()


async def test_a_text() -> None:
    server = served("An answer.")
    answer = await ask(server, inputs="Say: ", max_length=4096, temperature=0.5)
    assert answer["response"] == answer["data"]["response"]["choices"][0]["message"]["content"] == "An answer."
    assert (answer["n_token_prompt"], answer["n_token_response"]) == (5, 11)  # the end of text is a token
    assert answer["data"]["response"]["usage"] == {"completion_tokens": 11, "prompt_tokens": 5, "total_tokens": 16}
    assert answer["data"]["response"]["id"] == answer["timestamp"]
    assert answer["data"]["response"]["model"] == "m"
    [request] = server.engine.requests
    assert prompt_of(request) == "Say: "
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0.5, 4096 - 5)


async def test_a_dialogue_goes_through_the_template_with_its_names() -> None:
    server = served()
    answer = await ask(server, inputs=DIALOGUE, max_new_tokens=3)
    assert answer["response"] == "An "
    prompt = prompt_of(server.engine.requests[0])
    assert prompt.startswith("system: ") and prompt.endswith("model: ")
    positions = [prompt.index(text) for text in ("Be brief.", "Bob: Hi", "Hello", "Ann: Bye")]
    assert positions == sorted(positions)


@pytest.mark.parametrize("key", ["inputs", "messages", "prompt"])
async def test_other_message_keys(key: str) -> None:
    server = served()
    assert (await ask(server, **{key: "Say: "}))["response"] == "An answer."
    assert (await ask(server, **{key: DIALOGUE}))["response"] == "An answer."


@pytest.mark.parametrize(
    ("arguments", "sampling"),
    [
        ({"max_length": 20}, {"max_tokens": 15}),
        ({"max_length": 20, "max_new_tokens": 7}, {"max_tokens": 7}),
        ({"min_length": 9, "max_length": 20}, {"min_tokens": 4}),
        ({"min_new_tokens": 9, "max_length": 10}, {"min_tokens": 5, "max_tokens": 5}),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"temperature": 0.7, "top_p": 0.8, "top_k": 5}, {"temperature": 0.7, "top_p": 0.8, "top_k": 5}),
        ({"repetition_penalty": 1.1, "typical_p": 0.9}, {"repetition_penalty": 1.1, "typical_p": 0.9}),
        ({"eos_token_id": 65}, {"stop_token_ids": (65,)}),
        ({"eos_token_id": [65, 66]}, {"stop_token_ids": (65, 66)}),
        ({"stop_strings": "X", "seed": 3}, {"stop": ("X",), "include_stop_str_in_output": True, "seed": 3}),
        ({"num_beams": 1, "pad_token_id": 0, "use_cache": True, "num_return_sequences": 1}, {}),
    ],
)
async def test_transformers_arguments(arguments: dict[str, Any], sampling: dict[str, Any]) -> None:
    server = served()
    answer = await ask(server, inputs="Say: ", **arguments)
    found = server.engine.requests[0].sampling
    assert {name: getattr(found, name) for name in sampling} == sampling
    assert "warnings" not in answer


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": ""}, "prompt"),
        ({"inputs": 3}, "inputs"),
        ({"inputs": "x", "prompt": "y"}, "inputs"),
        ({"inputs": [{"content": "x"}]}, "inputs[0].role"),
        ({"inputs": "Say: ", "max_length": 5}, "max_length"),
        ({"inputs": "x", "max_new_tokens": 0}, "max_new_tokens"),
        ({"inputs": "x", "num_beams": 4}, "num_beams"),
        ({"inputs": "x", "temperature": "hot"}, "temperature"),
        ({"inputs": "x", "do_sample": False, "temperature": -1}, "temperature"),
        ({"inputs": "x" * 100_001}, "prompt"),  # never cut in silence
    ],
)
async def test_refusals(body: dict[str, Any], param: str) -> None:
    answer = await ask(served(), 400, **body)
    assert answer["error"]["param"] == param


async def test_unknown_arguments_are_told(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    response = await http.post("/llm/", json={"inputs": "Hi", "max_length": 50, "mood": "good"})
    assert response.headers["x-inglenook-warnings"] == "unknown fields ignored: mood"
    jsonschema.validate(response.json(), ANSWER)
    assert response.json()["warnings"] == ["unknown fields ignored: mood"]
    assert response.json()["n_token_prompt"] == 7


async def test_only_post(http: httpx.AsyncClient) -> None:
    response = await http.get("/llm/")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["code"] == "method_not_allowed"
