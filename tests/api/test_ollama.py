"""Ollama's routes over a scripted back end: the official client, exact shapes, errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import numpy as np
import ollama
import pytest

from fixtures import ollama_schemas as shapes
from fixtures.ollama_schemas import joined, lines_of
from inglenook.config import ServerSettings
from inglenook.errors import EngineError, OverloadedError
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import (
    AnsweredPrompt,
    ChatRequest,
    CompletionRequest,
    Delta,
    Embeddings,
    EmbedRequest,
    ModelCard,
    ModelDetails,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

if TYPE_CHECKING:
    from conftest import ScriptedBackend

QUESTION: Any = [{"role": "user", "content": "Hi"}]
PROMPT = AnsweredPrompt((7, 8), 1)
END = Delta(0, "", (3,), finish_reason="stop", usage=Usage(2, 3, 1))
LOGPROB = TokenLogprob(1, "Hello", b"Hello", -0.5, (TokenLogprob(1, "Hello", b"Hello", -0.5),))
HELLO = (Delta(0, "Hello", (1,), (LOGPROB,), prompt=PROMPT), Delta(0, " there", (2,)), END)
EVERYTHING = (
    Delta(reasoning="I ", prompt=PROMPT),
    Delta(reasoning="see."),
    Delta(text="So: "),
    Delta(tool_calls=(ToolCallDelta(0, "call_00001", "f"),)),
    Delta(tool_calls=(ToolCallDelta(0, arguments='{"x"'),)),
    Delta(tool_calls=(ToolCallDelta(0, arguments=": 1}"), ToolCallDelta(1, "call_00002", "g", '{"x": 2}'))),
    Delta(finish_reason="tool_calls", usage=Usage(2, 9, 1)),
)
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Does it",
            "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        },
    }
    for name in ("f", "g")
]
DETAILS = ModelDetails(
    "gguf",
    "llama",
    "Q4_K_M",
    8_030_000_000,
    4_900_000_000,
    1.7e9,
    {"context_length": 8192},
    "mit",
    "{{ x }}",
    {"top_p": 0.9},
)


@pytest.fixture(autouse=True)
def script(backend: ScriptedBackend) -> None:
    backend.script = HELLO


@pytest.fixture
def client(url: str) -> ollama.Client:
    return ollama.Client(host=url)


def asked(backend: ScriptedBackend) -> ChatRequest:
    request = backend.requests[-1]
    assert isinstance(request, ChatRequest)
    return request


# --- the client -----------------------------------------------------------------------------------


def test_chat(client: ollama.Client, backend: ScriptedBackend) -> None:
    answer = client.chat("tiny", QUESTION, options={"temperature": 0.3}, keep_alive="5m")
    assert answer.message.content == answer["message"]["content"] == "Hello there"
    assert (answer.model, answer.done, answer.done_reason) == ("tiny", True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (2, 3)
    assert asked(backend).sampling.temperature == 0.3
    pieces = list(client.chat("tiny:latest", QUESTION, stream=True))
    assert [piece.message.content for piece in pieces] == ["Hello", " there", ""]
    assert [piece.done for piece in pieces] == [False, False, True]
    assert pieces[-1].model == "tiny:latest" and asked(backend).model == "tiny"


def test_generate(client: ollama.Client, backend: ScriptedBackend) -> None:
    answer = client.generate("org/model", "Hi", system="Be brief.", stream=False)
    assert answer.response == "Hello there"
    assert answer.context == [7, 8, 1, 2, 3]
    assert [(m.role, m.content) for m in asked(backend).messages] == [("system", "Be brief."), ("user", "Hi")]
    assert "".join(piece.response for piece in client.generate("org/model", "Hi", stream=True)) == "Hello there"
    client.generate("tiny", "Hi", raw=True)
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest) and request.prompts == ("Hi",)
    client.generate("tiny", "Hi", context=answer.context)
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest)
    assert request.prompts == ((7, 8, 1, 2, 3, *map(ord, "chat")),)  # what the back end renders


async def test_async_client(url: str) -> None:
    client = ollama.AsyncClient(host=url)
    assert (await client.chat("tiny", QUESTION)).message.content == "Hello there"
    assert [p.response async for p in await client.generate("tiny", "Hi", stream=True)] == ["Hello", " there", ""]


def test_tools_loop(client: ollama.Client, backend: ScriptedBackend) -> None:
    """What the client sends back of an answer is what the template gets."""

    def f(x: int) -> int:
        """Does it.

        Args:
          x: A number
        """
        return x

    backend.script = EVERYTHING
    messages: Any = [{"role": "user", "content": "Do both."}]
    answer = client.chat("tiny", messages, tools=[f, TOOLS[1]], think=True)
    assert answer.message.thinking == "I see."
    calls = answer.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [("f", {"x": 1}), ("g", {"x": 2})]
    assert [tool.name for tool in asked(backend).tool_use.callable_tools] == ["f", "g"]
    messages += [answer.message, *({"role": "tool", "content": "done", "tool_name": c.function.name} for c in calls)]
    client.chat("tiny", messages, tools=[])
    request = asked(backend)
    assert [(m.role, m.content, m.name) for m in request.messages] == [
        ("user", "Do both.", None),
        ("assistant", "So: ", None),
        ("tool", "done", "f"),
        ("tool", "done", "g"),
    ]
    turn = request.messages[1].extra
    assert turn["reasoning_content"] == "I see."
    assert [call["function"] for call in turn["tool_calls"]] == [
        {"name": "f", "arguments": {"x": 1}},
        {"name": "g", "arguments": {"x": 2}},
    ]


def test_logprobs(client: ollama.Client) -> None:
    answer = client.chat("tiny", QUESTION, logprobs=True, top_logprobs=1)
    assert answer.logprobs is not None
    assert (answer.logprobs[0].token, answer.logprobs[0].top_logprobs[0].logprob) == ("Hello", -0.5)


def test_models(url: str, client: ollama.Client) -> None:
    assert [(model.model, model.size) for model in client.list().models] == [
        ("tiny:latest", 0),
        ("org/model:latest", 0),
    ]
    assert [model.context_length for model in client.ps().models] == [512, 512]
    assert client.show("tiny").capabilities == ["completion", "tools"]
    assert client.pull("tiny").status == "success"
    assert [line.status for line in client.pull("tiny", stream=True)][-1] == "success"
    for call in (
        lambda: client.pull("other"),
        lambda: client.push("tiny"),
        lambda: client.create("new", from_="tiny"),
        lambda: client.copy("tiny", "other"),
        lambda: client.delete("tiny"),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 501


def test_errors_of_the_client(client: ollama.Client, backend: ScriptedBackend) -> None:
    for call in (client.chat, client.generate, client.show, client.embed, client.embeddings):
        with pytest.raises(ollama.ResponseError) as caught:
            call("nobody")
        assert (caught.value.error, caught.value.status_code) == ("model 'nobody' not found", 404)
    backend.script = (HELLO[0], EngineError("Broken."))
    with pytest.raises(ollama.ResponseError, match="Broken"):
        list(client.chat("tiny", QUESTION, stream=True))


# --- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/chat", "/v1/api/chat/", "/api/generate"])
@pytest.mark.parametrize("script", [HELLO, EVERYTHING])
async def test_whole_and_streamed(
    http: httpx.AsyncClient, backend: ScriptedBackend, path: str, script: tuple[Delta, ...]
) -> None:
    is_chat = "chat" in path
    if not is_chat and script is EVERYTHING:
        script = tuple(delta for delta in script if not delta.tool_calls)  # there are no calls here
    backend.script = script
    body = {"model": "tiny", "messages": QUESTION} if is_chat else {"model": "tiny", "prompt": "Hi"}
    response = await http.post(path, json=body)
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = lines_of(response.text, is_chat=is_chat)
    response = await http.post(path, json={**body, "stream": False})
    assert response.headers["content-type"] == "application/json"
    jsonschema.validate(response.json(), shapes.CHAT_END if is_chat else shapes.GENERATE_END)
    assert joined(lines) == joined([response.json()])
    ends = (lines[-1], response.json())
    assert all(end["total_duration"] >= end["prompt_eval_duration"] + end["eval_duration"] for end in ends)
    assert all(end["total_duration"] > 0 for end in ends)


async def test_a_call_is_one_line(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = EVERYTHING
    response = await http.post("/api/chat", json={"model": "tiny", "messages": QUESTION, "tools": TOOLS})
    calls = [line["message"].get("tool_calls") for line in lines_of(response.text, is_chat=True)]
    functions = [[one["function"] for one in some] for some in calls if some]
    assert functions == [
        [{"index": 0, "name": "f", "arguments": {"x": 1}}],
        [{"index": 1, "name": "g", "arguments": {"x": 2}}],
    ]


async def test_loading_and_unloading(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for keep_alive, reason in ((None, "load"), ("5m", "load"), (-1, "load"), (0, "unload"), ("0s", "unload")):
        for path, body, schema in (
            ("/api/chat", {"messages": []}, shapes.CHAT_LOADED),
            ("/api/chat", {}, shapes.CHAT_LOADED),
            ("/api/generate", {"prompt": ""}, shapes.GENERATE_LOADED),
        ):
            response = await http.post(path, json={"model": "tiny", "keep_alive": keep_alive, **body})
            assert response.headers["content-type"] == "application/json"
            jsonschema.validate(response.json(), schema)
            assert response.json()["done_reason"] == reason
            assert ("stays loaded" in response.headers.get("x-inglenook-warnings", "")) == (reason == "unload")
    assert backend.requests == []


async def test_what_is_said_of_models() -> None:
    cards = [
        ModelCard("llama3:8b", 1, 4096, "hf:x/y", details=DETAILS),
        ModelCard("thinker", 1, 4096, "t", details=ModelDetails(is_thinking=True, fills_middle=True)),
        ModelCard("vectors", 1, 512, "v", "embed"),
        ModelCard("scores", 1, 512, "s", "score"),
    ]
    async with _http(Vectors(cards)) as http:
        tags = (await http.get("/api/tags")).json()
        jsonschema.validate(tags, shapes.TAGS)
        assert [model["capabilities"] for model in tags["models"]] == [
            ["completion", "tools"],
            ["completion", "tools", "insert", "thinking"],
            ["embedding"],
            [],
        ]
        assert len({model["digest"] for model in tags["models"]}) == 4
        assert tags["models"][0]["details"] == {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "8.0B",
            "quantization_level": "Q4_K_M",
        }
        jsonschema.validate((await http.get("/api/ps")).json(), shapes.PROCESSES)
        for key in ("model", "name"):
            shown = (await http.post("/api/show", json={key: "llama3:8b", "verbose": True})).json()
            jsonschema.validate(shown, shapes.SHOW)
        assert shown["model_info"] == {
            "general.architecture": "llama",
            "general.parameter_count": 8_030_000_000,
            "llama.context_length": 8192,
        }
        assert shown["parameters"].split() == ["top_p", "0.9"]
        assert shown["modelfile"] == 'FROM hf:x/y\nTEMPLATE """{{ x }}"""\nPARAMETER top_p 0.9\n'
        jsonschema.validate((await http.post("/api/show", json={"model": "vectors"})).json(), shapes.SHOW)


async def test_liveness(http: httpx.AsyncClient) -> None:
    response = await http.get("/")
    assert (response.text, response.headers["content-type"]) == ("Ollama is running", "text/plain; charset=utf-8")
    assert (await http.head("/")).status_code == 200
    major, minor, _ = map(int, (await http.get("/api/version")).json()["version"].split("."))
    assert (major, minor) >= (0, 6)


# --- errors ---------------------------------------------------------------------------------------


async def test_error_shapes(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    async def error(status: int, method: str, path: str, **how: Any) -> str:
        response = await http.request(method, path, **how)
        assert response.status_code == status, response.text
        jsonschema.validate(response.json(), shapes.ERROR)
        return str(response.json()["error"])

    for path in ("/api/chat", "/api/generate", "/api/show", "/api/embed", "/api/embeddings", "/api/pull"):
        assert await error(400, "POST", path, json={}) == "model is required"
        assert "JSON" in await error(400, "POST", path, content=b"{")
        await error(405, "PUT", path)
    assert await error(404, "POST", "/api/chat", json={"model": "no:1b"}) == "model 'no:1b' not found"
    assert "nothing at" in await error(404, "GET", "/api/nothing")
    await error(413, "POST", "/api/chat", content=b" " * (1 << 20) + b" ")
    for method, path in (
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:00"),
    ):
        assert path in await error(501, method, path, json={"model": "tiny"})
    body = {"model": "tiny", "messages": QUESTION}
    for failure, status in ((OverloadedError("Full."), 429), (RuntimeError("/secret"), 500)):
        backend.script = (failure,)
        assert "/secret" not in await error(status, "POST", "/api/chat", json=body)


async def test_an_error_in_a_stream(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (HELLO[0], EngineError("Broken."))
    lines = (await http.post("/api/chat", json={"model": "tiny", "messages": QUESTION})).text.splitlines()
    assert json.loads(lines[-1]) == {"error": "Broken."}


# --- vectors --------------------------------------------------------------------------------------


@dataclass
class Vectors:
    """An embedding model: a vector for each text."""

    cards: list[ModelCard]
    request: EmbedRequest | None = None

    def models(self) -> list[ModelCard]:
        return self.cards

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.request = request
        return Embeddings(np.full((len(request.inputs), 2), 0.5, np.float32), Usage(5), ("Cut.",))

    async def close(self) -> None:
        pass

    def is_healthy(self) -> bool:
        return True


def _http(backend: Any) -> httpx.AsyncClient:
    app = create_app(Router([backend]), ServerSettings(), version="1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_embeddings() -> None:
    backend = Vectors([ModelCard("vectors", 1, 512, "v", "embed")])
    async with _http(backend) as http:
        for texts, number in (("a", 1), (["a", "b"], 2)):
            body = {"model": "vectors:latest", "input": texts, "options": {"temperature": 0.3}, "dimensions": 2}
            response = await http.post("/api/embed", json=body)
            answer = response.json()
            jsonschema.validate(answer, shapes.EMBED)
            assert answer["embeddings"] == [[0.5, 0.5]] * number
            assert (answer["model"], answer["prompt_eval_count"]) == ("vectors:latest", 5)
            assert response.headers["x-inglenook-warnings"] == "Cut."
            assert backend.request is not None
            assert (backend.request.dimensions, backend.request.is_normalized) == (2, True)
            assert backend.request.truncate_prompt_tokens == -1
        await http.post("/api/embed", json={"model": "vectors", "input": "a", "truncate": False})
        assert backend.request.truncate_prompt_tokens is None
        response = await http.post("/api/embeddings", json={"model": "vectors", "prompt": "a"})
        jsonschema.validate(response.json(), shapes.EMBEDDINGS)
        assert response.json()["embedding"] == [0.5, 0.5]
        backend.request = None
        for path, empty in (("/api/embed", {"embeddings": []}), ("/api/embeddings", {"embedding": []})):
            answer = (await http.post(path, json={"model": "vectors"})).json()
            assert {key: answer[key] for key in empty} == empty
        assert backend.request is None
        response = await http.post("/api/chat", json={"model": "vectors", "messages": QUESTION})
        assert response.status_code == 400 and "embeddings" in response.json()["error"]
