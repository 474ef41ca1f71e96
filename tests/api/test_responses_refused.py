"""What POST /v1/responses refuses, and how it names the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.responses_served import ServedResponses, serve_responses


@pytest.fixture
def served(tmp_path: Path) -> ServedResponses:
    return serve_responses(tmp_path, "Hello")


FUNCTION = {"type": "function", "name": "f"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input": []}, "input"),
    ({"input": 3}, "input"),
    ({"input": [3]}, "input[0]"),
    ({"input": [{}]}, "input[0]"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0]"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
    ({"include": ["everything"]}, "include"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_tool_calls": "3"}, "max_tool_calls"),
    ({"temperature": 3}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"truncation": "never"}, "truncation"),
    ({"store": "yes"}, "store"),
    ({"stream_options": {}}, "stream_options"),
    ({"background": True, "store": False}, "background"),
    ({"background": True, "stream": True}, "stream"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"metadata": {"a": "x" * 513}}, "metadata"),
    ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": 1}}}}, "text.format.schema"),
    ({"text": {"verbosity": "low"}}, "text.verbosity"),
    ({"text": {"format": {"type": "json_object"}}, "guided_regex": "a"}, "guided_regex"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [FUNCTION, FUNCTION]}, "tools"),
    ({"tools": [{"type": "function", "name": "f", "parameters": {"type": "array"}}]}, "tools[0].parameters.type"),
    (
        {
            "tools": [
                {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}
            ]
        },
        "tools[0].format.syntax",
    ),
    (
        {"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"x": {"not": {}}}}}]},
        "tools[0].parameters",
    ),
    (
        {
            "tools": [
                {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "regex", "definition": "("}}
            ]
        },
        "tools[0].format.definition",
    ),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"messages": [{"role": "user", "content": "Hi"}]}, "messages"),
    ({"max_tokens": 3}, "max_tokens"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"n": 2}, "n"),
    ({"service_tier": "slow"}, "service_tier"),
    ({"return_token_ids": True}, "return_token_ids"),
    ({"n_predict": 5}, "n_predict"),
    ({"rid": "x"}, "rid"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=lambda value: str(value)[:60])
async def test_refused_by_name(served: ServedResponses, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        if "stream" in fields or "stream_options" in fields:
            stream = fields.get("stream", False)
        error = await served.error(**{"stream": stream, **fields})
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
    assert served.engine.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"messages": None, "conversation": None, "prompt": None},
        {"service_tier": "auto"},
        {"service_tier": "flex"},
        {"n_predict": -1, "n_probs": 0, "return_token_ids": False, "repeat_penalty": 1.1},
        {"text": {"verbosity": "medium"}},
        {"stop": ["q"], "top_k": 5, "min_p": 0.1, "seed": 1, "repetition_penalty": 1.1, "ignore_eos": False},
        {"include": ["web_search_call.action.sources"]},
        {"tools": [], "tool_choice": "auto", "reasoning": None, "text": None, "metadata": None},
    ],
)
async def test_asks_for_nothing_unusual(served: ServedResponses, fields: dict[str, Any]) -> None:
    assert "warnings" not in await served.create(**fields)


async def test_a_missing_input(served: ServedResponses) -> None:
    answer = await served.http.post("/responses", json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")


async def test_unknown_models(served: ServedResponses) -> None:
    assert (await served.error(model="other", status=404))["code"] == "model_not_found"


async def test_sampling_reaches_the_engine(served: ServedResponses) -> None:
    await served.create(seed=7, top_k=5, temperature=0.25, max_output_tokens=11, stop="q", logit_bias={"65": -100})
    sampling = served.engine.requests[-1].sampling
    assert (sampling.seed, sampling.top_k, sampling.temperature, sampling.max_tokens) == (7, 5, 0.25, 11)
    assert (sampling.stop, sampling.logit_bias, sampling.logprobs) == (("q",), {65: -100}, None)
