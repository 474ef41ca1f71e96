"""Paths, keys, limits, bad bodies: what surrounds an answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from inglenook.config import ServerSettings
from inglenook.dialects.openai.fields import REFUSED
from inglenook.errors import UnavailableError
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import Delta

if TYPE_CHECKING:
    from conftest import ScriptedBackend

MESSAGES = [{"role": "user", "content": "Hi"}]
ROUTES = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/tiny"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("GET", "/nowhere"),
]


def client(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def assert_error(answer: httpx.Response, status: int, param: str | None = None, code: str | None = None) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert answer.headers["x-request-id"]
    if param is not None:
        assert error["param"] == param
    if code is not None:
        assert error["code"] == code
    return str(error["message"])


@pytest.mark.parametrize(
    "path", ["/v1/models", "/models", "/v1/models/", "//v1//models//", "/v1/models/org/model", "/models/org%2Fmodel"]
)
async def test_paths(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"http://test{path}")).status_code == 200


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/v1//chat/completions/"])
async def test_paths_of_chat(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.post(path, json={"messages": MESSAGES})).status_code == 200


async def test_unknown_path_and_wrong_method(http: httpx.AsyncClient) -> None:
    assert "at /v1//no where." in assert_error(await http.get("/v1//no%20where"), 404, code="not_found")
    for path in ("/", "/v1"):  # GET is Ollama's there, POST Hugging Face's
        assert (await http.get(path)).text == "Ollama is running"
        assert (await http.delete(path)).status_code == 405
    answer = await http.get("/v1/chat/completions")
    assert "POST" in assert_error(answer, 405, code="method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert_error(await http.delete("/v1/models/tiny"), 405)
    assert_error(await http.get("/v1/models/none"), 404, code="model_not_found")


async def test_preflight_passes_without_a_key(backend: ScriptedBackend) -> None:
    async with client(create_app(Router([backend]), ServerSettings(api_key=("k",)), version="0")) as http:
        answer = await http.options("/v1/chat/completions", headers={"origin": "http://x"})
    assert answer.status_code == 204
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_needs_the_key(backend: ScriptedBackend, method: str, path: str) -> None:
    async with client(create_app(Router([backend]), ServerSettings(api_key=("köy",)), version="0")) as http:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}, {"authorization": "Basic köy"}):
            raw = {name: value.encode() for name, value in headers.items()}
            assert_error(await http.request(method, path, headers=raw), 401, code="invalid_api_key")
        for headers in ({"authorization": "bearer köy"}, {"x-api-key": "köy"}):
            raw = {name: value.encode() for name, value in headers.items()}
            answer = await http.request(method, path, headers=raw, json={"messages": MESSAGES, "prompt": "x"})
            assert answer.status_code == (404 if path == "/nowhere" else 200)
    assert len(backend.requests) == (2 if method == "POST" else 0)


async def test_health(backend: ScriptedBackend) -> None:
    async with client(create_app(Router([backend]), ServerSettings(api_key=("k",)), version="0")) as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/v1/health/")).status_code == 200
        backend.healthy = False
        assert_error(await http.get("/health"), 503, code="unavailable")
    async with client(create_app(Router([]), ServerSettings(), version="0")) as http:
        assert_error(await http.get("/health"), 503)
        assert "none" in assert_error(await http.post("/v1/completions", json={"prompt": "x"}), 404)


async def test_version(http: httpx.AsyncClient) -> None:
    assert (await http.get("/version")).json() == {"version": "1.2.3"}


async def test_request_id(http: httpx.AsyncClient) -> None:
    answer = await http.get("/version", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    own = (await http.get("/version", headers={"x-request-id": "a" * 200})).headers["x-request-id"]
    assert own != "a" * 200
    assert own != (await http.get("/version")).headers["x-request-id"]


async def test_model_defaults_to_the_first(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for body in ({}, {"model": ""}, {"model": None}):
        answer = await http.post("/v1/chat/completions", json={"messages": MESSAGES, **body})
        assert answer.json()["model"] == "tiny"
    for name in ("NotRequired", "default"):
        answer = await http.post("/v1/chat/completions", json={"messages": MESSAGES, "model": name})
        assert answer.json()["model"] == name, "clients look for the name that they sent"
    assert {request.model for request in backend.requests} == {"tiny"}
    await http.post("/v1/chat/completions", json={"messages": MESSAGES, "model": "org/model"})
    assert backend.requests[-1].model == "org/model"


async def test_content_type_does_not_matter(http: httpx.AsyncClient) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", ""):
        answer = await http.post(
            "/v1/completions", content=b'\xef\xbb\xbf{"prompt": "x"}', headers={"content-type": content_type}
        )
        assert answer.status_code == 200
    answer = await http.post("/v1/completions", content=b"x", headers={"content-encoding": "gzip"})
    assert "gzip" in assert_error(answer, 400)


async def test_body_limit(http: httpx.AsyncClient) -> None:
    num_read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal num_read
        for _ in range(64):
            num_read += 1
            yield b" " * 2**18

    answer = await http.post("/v1/completions", content=pieces())
    assert "1 MiB" in assert_error(answer, 413, code="payload_too_large")
    answer = await http.post("/v1/completions", content=b"{}", headers={"content-length": str(10**12)})
    assert_error(answer, 413)
    within = json.dumps({"prompt": "x" * (2**20 - 100)})
    assert (await http.post("/v1/completions", content=within)).status_code == 200


async def test_unknown_fields_are_reported(http: httpx.AsyncClient) -> None:
    body = {"prompt": "x", "foo": 1, "bar\r\nset-cookie: é": 2, "baz": None, "user": "u", "stream": True}
    body["stream_options"] = {"include_usage": False, "odd": 1}
    answer = await http.post("/v1/completions", json=body)
    assert answer.headers["x-inglenook-warnings"] == (
        "unknown fields ignored: foo, bar%0D%0Aset-cookie%3A%20%C3%A9, stream_options.odd"
    )
    answer = await http.post("/v1/completions", json={"prompt": "x", **{f"f{i}" * 40: i for i in range(100)}})
    assert answer.status_code == 200
    assert "and 80 more" in answer.headers["x-inglenook-warnings"]
    assert "x-inglenook-warnings" not in (await http.post("/v1/completions", json={"prompt": "x"})).headers


@pytest.mark.parametrize("stream", [False, True])
async def test_warnings_of_the_back_end(http: httpx.AsyncClient, backend: ScriptedBackend, stream: bool) -> None:
    backend.script = (
        Delta(0, "a", warnings=("max_tokens is 9;\r\nbut é", "second")),
        Delta(0, "", finish_reason="stop"),
    )
    answer = await http.post("/v1/completions", json={"prompt": "x", "stream": stream, "foo": 1})
    assert answer.headers["x-inglenook-warnings"] == (
        "unknown fields ignored: foo; max_tokens is 9%3B%0D%0Abut %C3%A9; second"
    )


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_refused_fields(http: httpx.AsyncClient, name: str) -> None:
    body = {"prompt": "x", "messages": MESSAGES, name: {"ask": "something"}}
    route = "/v1/completions" if name in ("tools", "suffix") else "/v1/chat/completions"
    assert name in assert_error(await http.post(route, json=body), 400, param=name)


async def test_overload_says_when_to_come_back(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (UnavailableError("stopping"),)
    answer = await http.post("/v1/completions", json={"prompt": "x"})
    assert_error(answer, 503)
    assert answer.headers["retry-after"]


async def test_surprises_stay_inside(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (RuntimeError("secret detail"),)
    for stream in (False, True):
        answer = await http.post(
            "/v1/completions", json={"prompt": "x", "stream": stream}, headers={"x-request-id": "abc"}
        )
        message = assert_error(answer, 500)
        assert "abc" in message
        assert "secret" not in answer.text


async def test_refused_while_stopping(http: httpx.AsyncClient, app: Starlette) -> None:
    app.state.inglenook.router.stop_accepting()
    assert_error(await http.post("/v1/completions", json={"prompt": "x"}), 503)
    assert_error(await http.get("/health"), 503)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = """
    max_tokens max_completion_tokens min_tokens temperature top_p top_k min_p seed stop n repetition_penalty
    presence_penalty frequency_penalty logit_bias stop_token_ids ignore_eos logprobs top_logprobs stream
    stream_options user chat_template_kwargs add_generation_prompt continue_final_message echo priority
    add_special_tokens best_of tools response_format suffix model unheard_of typical_p allowed_token_ids bad_words
    repetition_detection prompt_logprobs cache_salt t_max_predict_ms
"""
messages = st.lists(
    st.fixed_dictionaries({}, optional={"role": json_values | st.just("user"), "content": json_values}) | json_values,
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {"messages": st.just(MESSAGES) | messages, "prompt": st.just("x") | json_values},
    optional=dict.fromkeys(FIELDS.split(), json_values),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies | json_values, route=st.sampled_from(["/v1/chat/completions", "/v1/completions"]))
async def test_random_bodies(http: httpx.AsyncClient, body: Any, route: str) -> None:
    answer = await http.post(route, content=json.dumps(body).encode())
    if answer.status_code != 200:
        assert_error(answer, 400 if answer.status_code != 404 else 404)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=40))
async def test_random_bytes(http: httpx.AsyncClient, body: bytes) -> None:
    assert_error(await http.post("/v1/chat/completions", content=body), 400)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(max_size=20))
async def test_random_paths(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post("http://test/" + quote(path))
    assert answer.status_code in (400, 404, 405, 422)
    error = answer.json()["error"]
    assert error if isinstance(error, str) else error["message"]


def test_the_app_loads_nothing_heavy() -> None:
    code = "import sys, inglenook.server.app; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert "inglenook.server.app" in loaded
    assert not loaded & {"pydantic", "fastapi", "prometheus_client", "uvicorn", "httpx", "numpy", "torch"}
