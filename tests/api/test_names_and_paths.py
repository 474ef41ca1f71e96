"""Every way in which clients write a path or name a model leads to the same answer."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import openai
import pytest
from starlette.applications import Starlette

from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import ModelCard, Task

if TYPE_CHECKING:
    from conftest import ScriptedBackend

    BackendOf = Callable[..., ScriptedBackend]

MESSAGES = [{"role": "user", "content": "Hi"}]
ODD_NAMES = ["org/model", "smollm2:135m", "ein Modell", "模型/é", "http://x//y", "a%2Fb", "v1/x", "a+b"]


def client(app: Starlette) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
def backend_of(backend: ScriptedBackend) -> BackendOf:
    """Makes back ends whose models have these names."""

    def make(*names: str, task: Task = "generate", healthy: bool = True) -> ScriptedBackend:
        cards = tuple(ModelCard(name, 1700000000, 512, names[0], task) for name in names)
        return replace(backend, cards=cards, healthy=healthy, requests=[])

    return make


def app_of(*backends: ScriptedBackend, aliases: dict[str, str] | None = None, **settings: Any) -> Starlette:
    any_model = settings.pop("any_model", False)
    router = Router(backends, aliases=aliases, any_model=any_model)
    return create_app(router, ServerSettings(max_body_mib=1, **settings), version="0")


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/", "//v1/", "/v1/v1", "/openai/v1", "/openai"])
@pytest.mark.parametrize("suffix", ["", "/", "//", "/?api-version=2024-06-01"])
async def test_prefixes_and_slashes(http: httpx.AsyncClient, prefix: str, suffix: str) -> None:
    assert (await http.get(f"http://test{prefix}/models{suffix}")).status_code == 200
    answer = await http.post(f"http://test{prefix}/chat/completions{suffix}", json={"messages": MESSAGES})
    assert answer.status_code == 200


async def test_what_is_no_prefix(http: httpx.AsyncClient) -> None:
    for path in ("/v2/models", "/v1models", "/openaimodels", "/models/v1/models"):
        assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/health", "/version", "/metrics", "/v1/models", "/v1/models/tiny"])
def test_head_is_get_without_the_body(url: str, path: str) -> None:
    got, head = httpx.get(url + path), httpx.head(url + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert httpx.head(f"{url}/v1/models/none").status_code == 404


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_in_paths(listen: Callable[[Starlette], str], backend_of: BackendOf, name: str) -> None:
    """Over a real socket: what is decoded where is the server's affair as well."""
    backend = backend_of("first", name)
    url = listen(app_of(backend))
    encoded = quote(name, safe="")
    assert httpx.get(f"{url}/v1/models/{encoded}").json()["id"] == name
    assert openai.OpenAI(base_url=f"{url}/v1", api_key="x").models.retrieve(name).id == name
    for path in (f"/engines/{encoded}", f"/v1/engines/{encoded}", f"/openai/deployments/{encoded}"):
        answer = httpx.post(f"{url}{path}/chat/completions", json={"model": "other", "messages": MESSAGES})
        assert answer.json()["model"] == name
        answer = httpx.post(f"{url}{path}/completions?api-version=1", json={"prompt": "x"})
        assert answer.json()["model"] == name
    assert {request.model for request in backend.requests} == {name}


def test_azures_client(listen: Callable[[Starlette], str], backend: ScriptedBackend) -> None:
    url = listen(app_of(backend, api_key=("k",)))
    azure = openai.AzureOpenAI(azure_endpoint=url, api_key="k", api_version="2024-06-01")
    answer = azure.chat.completions.create(model="org/model", messages=[{"role": "user", "content": "Hi"}])
    assert (answer.model, answer.choices[0].message.content) == ("org/model", "Hello there")
    with pytest.raises(openai.AuthenticationError):
        azure.with_options(api_key="wrong").chat.completions.create(
            model="org/model", messages=[{"role": "user", "content": "Hi"}]
        )


async def test_an_unknown_model_in_the_path(http: httpx.AsyncClient) -> None:
    body = {"model": "tiny", "messages": MESSAGES}
    answer = await http.post("/engines/none/chat/completions", json=body)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_answer_carries_the_name_that_was_asked_for(backend_of: BackendOf, stream: bool) -> None:
    backend = backend_of("tiny")
    async with client(app_of(backend, aliases={"gpt-3.5-turbo": "tiny"}, any_model=True)) as http:
        for name in ("tiny", "gpt-3.5-turbo", "default", "claude-3"):
            for path, body in (("/chat/completions", {"messages": MESSAGES}), ("/completions", {"prompt": "x"})):
                answer = await http.post(path, json={**body, "model": name, "stream": stream})
                text = answer.text.split("\n")[0].removeprefix("data: ")
                assert json.loads(text)["model"] == name
        listed = [card["id"] for card in (await http.get("/v1/models")).json()["data"]]
        assert listed == ["tiny", "gpt-3.5-turbo"]
        card = (await http.get("/v1/models/gpt-3.5-turbo")).json()
        assert (card["id"], card["root"]) == ("gpt-3.5-turbo", "tiny")
    assert {request.model for request in backend.requests} == {"tiny"}


async def test_a_chat_without_a_name_goes_to_the_model_that_chats(backend_of: BackendOf) -> None:
    embedder, chatter = backend_of("minilm", task="embed"), backend_of("tiny")
    async with client(app_of(embedder, chatter)) as http:
        answer = await http.post("/v1/chat/completions", json={"messages": MESSAGES})
        assert answer.json()["model"] == "tiny"
        answer = await http.post("/v1/chat/completions", json={"messages": MESSAGES, "model": "minilm"})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "unsupported_task"
        assert "tiny can" in answer.json()["error"]["message"]


async def test_health_names_the_engine_that_failed(backend_of: BackendOf) -> None:
    first, second = backend_of("first"), backend_of("second", healthy=False)
    async with client(app_of(first, second)) as http:
        answer = await http.get("/health")
        assert answer.status_code == 503
        message = answer.json()["error"]["message"]
        assert "engine of second has failed" in message
        assert "Requests for first are answered" in message
        assert (await http.post("/v1/chat/completions", json={"messages": MESSAGES})).status_code == 200
        metrics = (await http.get("/metrics")).text
    for name, count in (("first", 1), ("second", 0)):
        assert f'request_success_total{{finished_reason="stop",model_name="{name}"}} 1.0' in metrics or not count
        assert f'inglenook:kv_cache_usage_perc{{model_name="{name}"}} 0.25' in metrics


# --- bodies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies(http: httpx.AsyncClient, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    async def post(body: bytes, encoding: str = encoding) -> httpx.Response:
        return await http.post("/v1/completions", content=body, headers={"content-encoding": encoding})

    assert (await post(compress(b'{"prompt": "x"}'))).status_code == 200
    assert (await post(compress(b'{"prompt": "%b"}' % (b"x" * 2**20)))).status_code == 413
    answer = await post(b"{}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "content-encoding")
    assert (await post(b"{}", "br")).status_code == 400


# --- browsers -------------------------------------------------------------------------------------------

PAGE = "http://localhost:3000"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type,x-stainless-os",
}


@pytest.mark.parametrize("allowed", [(PAGE,), ("http://other", PAGE), ("*",)])
async def test_an_allowed_page(backend: ScriptedBackend, allowed: tuple[str, ...]) -> None:
    async with client(app_of(backend, allowed_origins=allowed, api_key=("k",))) as http:
        answer = await http.options("/v1/chat/completions", headers=PREFLIGHT)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-headers"] == PREFLIGHT["access-control-request-headers"]
        assert "POST" in answer.headers["access-control-allow-methods"]
        for headers, status in (({"authorization": "Bearer k"}, 200), ({}, 401)):
            for stream in (False, True):
                body = {"messages": MESSAGES, "stream": stream}
                answer = await http.post("/v1/chat/completions", json=body, headers={"origin": PAGE, **headers})
                assert answer.status_code == status
                assert answer.headers["access-control-allow-origin"] == PAGE, "errors can be read as well"
                assert answer.headers["vary"] == "origin"
                assert "x-request-id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("allowed", [(), ("http://other",), ("http://localhost",)])
async def test_other_pages(backend: ScriptedBackend, allowed: tuple[str, ...]) -> None:
    async with client(app_of(backend, allowed_origins=allowed)) as http:
        for answer in (
            await http.options("/v1/chat/completions", headers=PREFLIGHT),
            await http.post("/v1/chat/completions", json={"messages": MESSAGES}, headers={"origin": PAGE}),
            await http.get("/v1/models"),
        ):
            assert answer.status_code in (200, 204)
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_preflight_cannot_write_headers(backend: ScriptedBackend) -> None:
    async with client(app_of(backend, allowed_origins=("*",))) as http:
        for wanted in ("x" * 2000, "a: b", "a\tb", ""):
            headers = {**PREFLIGHT, "access-control-request-headers": wanted}
            answer = await http.options("/v1/models", headers=headers)
            assert "access-control-allow-headers" not in answer.headers
