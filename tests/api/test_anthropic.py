"""Anthropic's routes over a scripted back end: the official client, exact shapes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import jsonschema
import pytest
from starlette.applications import Starlette

from fixtures.anthropic_schemas import COUNTED, ERROR, ERROR_TYPES, check_message, joined, read_events
from inglenook.config import ServerSettings
from inglenook.errors import EngineError, InglenookError, OverloadedError, UnavailableError
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import AnsweredPrompt, ChatRequest, Delta, ToolCallDelta, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

QUESTION: Any = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
TOOLS: Any = [{"name": name, "description": "Does it", "input_schema": SCHEMA} for name in ("f", "g")]
PROMPT = AnsweredPrompt(tuple(range(7)), 4)
END = Usage(7, 3, 4)
HELLO = (
    Delta(0, "Hello", (1,), prompt=PROMPT),
    Delta(0, " there", (2,)),
    Delta(0, "", (3,), finish_reason="stop", usage=END),
)
EVERYTHING = (
    Delta(reasoning="I ", prompt=PROMPT),
    Delta(reasoning="see."),
    Delta(text="So: "),
    Delta(text="calls", tool_calls=(ToolCallDelta(0, "call_00001", "f"),)),
    Delta(tool_calls=(ToolCallDelta(0, arguments='{"x"'),)),
    Delta(tool_calls=(ToolCallDelta(0, arguments=": 1}"), ToolCallDelta(1, "call_00002", "g", '{"x": 2}'))),
    Delta(finish_reason="tool_calls", usage=Usage(7, 9, 4)),
)
BODY: dict[str, Any] = {"model": "tiny", "max_tokens": 50, "messages": QUESTION}


@pytest.fixture(autouse=True)
def script(backend: ScriptedBackend) -> None:
    backend.script = HELLO


@pytest.fixture
def client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)


async def post(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await http.post("/v1/messages", json={**BODY, **fields})
    assert response.status_code == 200, response.text
    return check_message(response.json())


async def post_stream(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await http.post("/v1/messages", json={**BODY, "stream": True, **fields})
    assert response.status_code == 200 and response.headers["content-type"] == "text/event-stream"
    return joined(response.text)


def asked(backend: ScriptedBackend) -> ChatRequest:
    request = backend.requests[-1]
    assert isinstance(request, ChatRequest)
    return request


# --- the client -----------------------------------------------------------------------------------


def test_create(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**BODY)
    assert answer.id.startswith("msg_")
    assert (answer.type, answer.role, answer.model, answer.stop_reason) == ("message", "assistant", "tiny", "end_turn")
    assert answer.content[0].text == "Hello there"
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (3, 4, 0)
    assert usage.output_tokens == 3
    assert answer._request_id


def test_stream(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(**BODY, stream=True))
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_stream_helper(client: anthropic.Anthropic, backend: ScriptedBackend) -> None:
    backend.script = EVERYTHING
    with client.messages.stream(**BODY, tools=TOOLS, thinking={"type": "enabled", "budget_tokens": 1024}) as stream:
        thinking = "".join(event.thinking for event in stream if event.type == "thinking")
        message = stream.get_final_message()
    assert thinking == "I see."
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in message.content[2:]] == [{"x": 1}, {"x": 2}]
    assert [block.id for block in message.content[2:]] == ["toolu_call_00001", "toolu_call_00002"]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens == 9
    assert list(client.messages.stream(**BODY).__enter__().text_stream) == ["So: ", "calls"]


async def test_async_client(url: str) -> None:
    client = anthropic.AsyncAnthropic(base_url=url, auth_token="none", max_retries=0)
    answer = await client.messages.create(**BODY)
    assert answer.content[0].text == "Hello there"
    async with client.messages.stream(**BODY) as stream:
        assert [text async for text in stream.text_stream] == ["Hello", " there"]


def test_beta_client(client: anthropic.Anthropic) -> None:
    answer = client.beta.messages.create(
        **BODY, betas=["something-2030-01-01"], extra_headers={"anthropic-version": "x"}
    )
    assert answer.content[0].text == "Hello there"


def test_tools_loop(client: anthropic.Anthropic, backend: ScriptedBackend) -> None:
    """What the client sends back of an answer is what the template gets."""
    backend.script = EVERYTHING
    messages: Any = [{"role": "user", "content": "Do both."}]
    answer = client.messages.create(**{**BODY, "messages": messages}, tools=TOOLS, thinking={"type": "adaptive"})
    messages += [
        {"role": "assistant", "content": answer.content},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Here:"},
                {"type": "tool_result", "tool_use_id": answer.content[2].id, "content": "done"},
                {
                    "type": "tool_result",
                    "tool_use_id": answer.content[3].id,
                    "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "such file"}],
                    "is_error": True,
                },
            ],
        },
    ]
    backend.script = HELLO
    client.messages.create(**{**BODY, "messages": messages}, tools=TOOLS)
    request = asked(backend)
    assert [(m.role, m.content) for m in request.messages] == [
        ("user", "Do both."),
        ("assistant", "So: calls"),
        ("tool", "done"),
        ("tool", "Error: no\nsuch file"),
        ("user", "Here:"),
    ]
    turn = request.messages[1].extra
    assert turn["reasoning_content"] == "I see."
    assert [(call["id"], call["function"]) for call in turn["tool_calls"]] == [
        ("call_00001", {"name": "f", "arguments": {"x": 1}}),
        ("call_00002", {"name": "g", "arguments": {"x": 2}}),
    ]
    assert [m.extra["tool_call_id"] for m in request.messages[2:4]] == ["call_00001", "call_00002"]
    assert request.add_generation_prompt and not request.continue_final_message


def test_tool_runner(client: anthropic.Anthropic, backend: ScriptedBackend) -> None:
    """The client's own loop: it calls the function and asks again."""
    seen: list[int] = []

    @anthropic.beta_tool
    def f(x: int) -> str:
        """Does it."""
        seen.append(x)
        backend.script = HELLO
        return "done"

    backend.script = (
        Delta(tool_calls=(ToolCallDelta(0, "call_00001", "f", '{"x": 5}'),), prompt=PROMPT),
        Delta(finish_reason="tool_calls", usage=END),
    )
    last = client.beta.messages.tool_runner(**BODY, tools=[f]).until_done()
    assert seen == [5]
    assert last.content[0].text == "Hello there"
    assert [m.role for m in asked(backend).messages] == ["user", "assistant", "tool"]


def test_count_tokens(client: anthropic.Anthropic, backend: ScriptedBackend) -> None:
    assert (
        client.messages.count_tokens(model="tiny", messages=QUESTION, system="Be brief.", tools=TOOLS).input_tokens == 4
    )
    assert [m.role for m in asked(backend).messages] == ["system", "user"]
    assert len(asked(backend).tool_use.tools) == 2


def test_models(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "org/model"]
    model = client.models.retrieve("tiny")
    assert (model.type, model.display_name, model.max_input_tokens) == ("model", "tiny", 512)
    assert model.created_at.timestamp() == 1700000000


def test_a_prefix_as_other_servers_have_it(url: str) -> None:
    client = anthropic.Anthropic(base_url=f"{url}/anthropic", api_key="none", max_retries=0)
    assert client.messages.create(**BODY).content[0].text == "Hello there"


# --- answers --------------------------------------------------------------------------------------


async def test_shapes(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for script in (HELLO, EVERYTHING):
        backend.script = script
        for thinking in ({"type": "adaptive"}, {"type": "enabled", "budget_tokens": 9, "display": "omitted"}):
            whole, streamed = await post(http, thinking=thinking), await post_stream(http, thinking=thinking)
            assert {**whole, "id": ""} == {**streamed, "id": ""}
    assert whole["content"][0]["thinking"] == ""
    count = await http.post("/messages/count_tokens", json={"model": "tiny", "messages": QUESTION})
    jsonschema.validate(count.json(), COUNTED)
    assert count.headers["x-inglenook-warnings"] == "Changed a thing."


@pytest.mark.parametrize(
    ("last", "reason", "sequence"),
    [
        (Delta(finish_reason="stop", usage=END), "end_turn", None),
        (Delta(finish_reason="stop", stop_reason="END", usage=END), "stop_sequence", "END"),
        (Delta(finish_reason="stop", stop_reason=7, usage=END), "end_turn", None),
        (Delta(finish_reason="length", usage=Usage(7, 50)), "max_tokens", None),
        (Delta(finish_reason="length", usage=Usage(7, 49)), "model_context_window_exceeded", None),
    ],
)
async def test_stop_reasons(
    http: httpx.AsyncClient, backend: ScriptedBackend, last: Delta, reason: str, sequence: str | None
) -> None:
    backend.script = (Delta(text="a", prompt=PROMPT), last)
    whole = await post(http, stop_sequences=["END"])
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)
    backend.script = (Delta(text="a", prompt=AnsweredPrompt((1,) * 7, last.usage.cached_tokens)), last)  # type: ignore[union-attr]
    streamed = await post_stream(http)
    assert (streamed["stop_reason"], streamed["stop_sequence"]) == (reason, sequence)
    assert asked(backend).sampling.max_tokens == 50


async def test_calls_that_were_cut_off(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    calls = (ToolCallDelta(0, "c1", "f", '{"x": 1, "text": "so fa'),)
    backend.script = (Delta(tool_calls=calls), Delta(finish_reason="length", usage=Usage(7, 50)))
    whole = await post(http, tools=TOOLS)
    assert whole["content"][0]["input"]["x"] == 1
    assert whole["stop_reason"] == "max_tokens"


async def test_filling_the_cache_shows_nothing(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (*HELLO[:2], Delta(0, "!", (3,), finish_reason="stop", usage=END))
    for answer in (await post(http, max_tokens=0), await post_stream(http, max_tokens=0)):
        assert (answer["content"], answer["stop_reason"], answer["usage"]["output_tokens"]) == ([], "max_tokens", 0)
        assert answer["usage"]["input_tokens"] == 3


async def test_an_answer_that_says_nothing(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (Delta(finish_reason="stop", usage=END, prompt=PROMPT),)
    assert (await post(http))["content"] == (await post_stream(http))["content"] == []


async def test_names(http: httpx.AsyncClient) -> None:
    assert (await post(http, model="default"))["model"] == "default"
    assert (await post(http, model="org/model"))["model"] == "org/model"


# --- errors ---------------------------------------------------------------------------------------


def check_error(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    jsonschema.validate(body, ERROR)
    assert body["error"]["type"] == ERROR_TYPES[status]
    assert body["request_id"] == response.headers["request-id"]
    return str(body["error"]["message"])


@pytest.mark.parametrize("path", ["/messages", "/v1/messages", "/v1/messages/"])
async def test_error_shapes(http: httpx.AsyncClient, backend: ScriptedBackend, path: str) -> None:
    assert "nobody" in check_error(await http.post(path, json={**BODY, "model": "nobody"}), 404)
    assert "JSON" in check_error(await http.post(path, content=b"{"), 400)
    check_error(await http.get(path), 405)
    check_error(await http.post(path, content=b" " * (1 << 20) + b" "), 413)
    check_error(await http.post(f"{path}/batches", json={}), 404)
    failures: list[tuple[Exception, int]] = [
        (OverloadedError("Full."), 429),
        (UnavailableError("Stopping."), 529),
        (EngineError("Broken."), 500),
        (RuntimeError("/secret/path"), 500),
    ]
    for failure, status in failures:
        backend.script = (failure,)
        assert "/secret" not in check_error(await http.post(path, json=BODY), status)
        assert "/secret" not in check_error(await http.post(path, json={**BODY, "stream": True}), status)


async def test_an_error_in_a_stream(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (HELLO[0], EngineError("Broken."))
    response = await http.post("/v1/messages", json={**BODY, "stream": True})
    events = read_events(response.text)
    assert [event["type"] for event in events][-2:] == ["content_block_delta", "error"]
    assert events[-1]["error"] == {"type": "api_error", "message": "Broken."}
    assert events[-1]["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (OverloadedError("Full."), anthropic.RateLimitError),
        (EngineError("Broken."), anthropic.InternalServerError),
        (UnavailableError("Stopping."), anthropic.InternalServerError),
    ],
)
def test_error_classes(
    client: anthropic.Anthropic, backend: ScriptedBackend, failure: InglenookError, raised: type[Exception]
) -> None:
    backend.script = (failure,)
    with pytest.raises(raised) as caught:
        client.messages.create(**BODY)
    assert isinstance(caught.value, anthropic.APIStatusError) and caught.value.request_id
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**{**BODY, "model": "nobody"})
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**BODY, extra_body={"temperature": 1.5})


def test_keys(backend: ScriptedBackend, listen: Callable[[Starlette], str]) -> None:
    url = listen(create_app(Router([backend]), ServerSettings(api_key=("right",)), version="1"))
    for keys in ({"api_key": "right"}, {"auth_token": "right"}):
        assert anthropic.Anthropic(base_url=url, max_retries=0, **keys).messages.create(**BODY).content
    with pytest.raises(anthropic.AuthenticationError) as caught:
        anthropic.Anthropic(base_url=url, max_retries=0, api_key="wrong").messages.create(**BODY)
    jsonschema.validate(caught.value.body, ERROR)
    assert caught.value.body["error"]["type"] == "authentication_error"
