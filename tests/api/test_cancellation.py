"""Clients that leave, and a server that stops: every request ends, and the gauges go back to zero."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette

from inglenook.config import ServerSettings
from inglenook.errors import ConfigError, UnavailableError
from inglenook.server import body
from inglenook.server.run import bind, run
from inglenook.types import Delta, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

Soon = Callable[[Callable[[], Any]], None]
ENDLESS = (Delta(0, "Hello", (1,)), *[step for i in range(1000) for step in (0.02, Delta(0, f" {i}", (i,)))])


def metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"inglenook:{name}"))


def test_a_stream_that_is_closed(url: str, backend: ScriptedBackend, soon: Soon) -> None:
    backend.script = ENDLESS
    with httpx.stream("POST", f"{url}/v1/completions", json={"prompt": "x", "stream": True}) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert backend.num_open == 1
        assert metric(url, "num_requests_running") == 1
    soon(lambda: backend.num_cancelled == 1)
    assert backend.num_open == 0
    soon(lambda: metric(url, "num_requests_running") == 0)
    assert metric(url, 'request_success_total{finished_reason="abort"') == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_first_token(
    url: str, backend: ScriptedBackend, soon: Soon, stream: bool
) -> None:
    backend.script = (60.0,)
    request = json.dumps({"prompt": "x", "stream": stream}).encode()
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(request) + request
        )
        soon(lambda: backend.num_open == 1)
    soon(lambda: backend.num_cancelled == 1)


def test_a_client_that_leaves_in_its_body(url: str, backend: ScriptedBackend) -> None:
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert httpx.get(f"{url}/health").status_code == 200
    assert backend.requests == []


def test_a_client_that_stops_in_its_body(url: str, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "IDLE_TIMEOUT_S", 0.1)
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # to the end: the server closes
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_a_client_that_does_not_read(url: str, backend: ScriptedBackend, soon: Soon) -> None:
    """The model's side comes to its end at its own pace; the text waits in this process."""
    backend.script = (*[Delta(0, "x" * 10_000, (i,)) for i in range(2000)], Delta(0, "", (), finish_reason="stop"))
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    request = b'{"prompt": "x", "stream": true}'
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(request) + request
        )
        soon(lambda: backend.requests and backend.num_open == 0)
        assert backend.num_cancelled == 0
        assert httpx.get(f"{url}/health").status_code == 200


def test_hundreds_that_leave_and_one_that_stays(url: str, backend: ScriptedBackend, soon: Soon) -> None:
    backend.script = ENDLESS

    async def leave() -> None:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=url, limits=limits) as client:

            async def one() -> None:
                async with client.stream("POST", "/v1/completions", json={"prompt": "x", "stream": True}) as answer:
                    await anext(answer.aiter_lines())

            await asyncio.gather(*(one() for _ in range(200)))

    asyncio.run(leave())
    soon(lambda: backend.num_open == 0)
    assert backend.num_cancelled == 200
    backend.script = (Delta(0, "fine", (1,), finish_reason="stop", usage=Usage(1, 1)),)
    assert httpx.post(f"{url}/v1/completions", json={"prompt": "x"}).json()["choices"][0]["text"] == "fine"


def test_ready_deltas_go_out_together(url: str, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "a", (1,)), 0.05, *[Delta(0, "b", (2,)) for _ in range(50)])
    with httpx.stream("POST", f"{url}/v1/completions", json={"prompt": "x", "stream": True}) as answer:
        pieces = list(answer.iter_raw())
    assert sum(piece.count(b"data: {") for piece in pieces) == 51
    assert any(piece.count(b"data: {") > 10 for piece in pieces)


def test_metrics_match_usage(url: str, backend: ScriptedBackend) -> None:
    for _ in range(3):
        httpx.post(f"{url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}]})
    httpx.post(f"{url}/v1/chat/completions", json={"model": "none", "messages": []})
    text = httpx.get(f"{url}/metrics").text
    for line in (
        'inglenook:prompt_tokens_total{model_name="tiny"} 21.0',
        'inglenook:generation_tokens_total{model_name="tiny"} 9.0',
        'inglenook:request_success_total{finished_reason="stop",model_name="tiny"} 3.0',
        'inglenook:num_requests_running{model_name="tiny"} 0.0',
        'inglenook:num_requests_waiting{model_name="tiny"} 0.0',
        'inglenook:kv_cache_usage_perc{model_name="tiny"} 0.25',
        'inglenook:prefix_cache_queries_total{model_name="tiny"} 10.0',
        'inglenook:prefix_cache_hits_total{model_name="tiny"} 4.0',
        'inglenook:time_to_first_token_seconds_bucket{le="+Inf",model_name="tiny"} 3.0',
        'inglenook:inter_token_latency_seconds_count{model_name="tiny"} 6.0',
        'inglenook:e2e_request_latency_seconds_count{model_name="tiny"} 3.0',
    ):
        assert line in text.splitlines()


# --- the end of the server --------------------------------------------------------------------------

SERVER = """
import asyncio, sys
from inglenook.backends.base import BackendStats
from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.server.run import run
from inglenook.types import Delta, ModelCard

class Slow:
    def models(self): return [ModelCard("slow", 0, 1, "slow")]
    async def complete(self, request):
        for i in range(request.sampling.max_tokens):
            yield Delta(0, f"{i} ", (i,))
            await asyncio.sleep(0.05)
        yield Delta(0, "", (), finish_reason="length")
    def stats(self): return BackendStats()
    def is_healthy(self): return True
    async def close(self): print("closed", flush=True)

settings = ServerSettings(port=0, shutdown_grace_s=float(sys.argv[1]))
run(create_app(Router([Slow()]), settings, version="0"), settings, on_ready=lambda url: print(url, flush=True))
print("returned", flush=True)
"""


@pytest.fixture
def process() -> Iterator[Callable[[str], tuple[subprocess.Popen[str], str]]]:
    with contextlib.ExitStack() as stack:

        def start(grace_s: str) -> tuple[subprocess.Popen[str], str]:
            command = [sys.executable, "-c", textwrap.dedent(SERVER), grace_s]
            running = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(running.kill)
            assert running.stdout is not None
            return running, running.stdout.readline().strip()

        yield start


def read_stream(url: str, max_tokens: int, started: threading.Event, lines: list[str]) -> None:
    request = {"prompt": "x", "stream": True, "max_tokens": max_tokens}
    with httpx.stream("POST", f"{url}/v1/completions", json=request, timeout=30) as answer:
        for line in answer.iter_lines():
            lines.append(line)
            started.set()


def is_refused(url: str) -> bool:
    with contextlib.suppress(httpx.ReadError, httpx.RemoteProtocolError):
        try:
            httpx.get(f"{url}/health")
        except httpx.ConnectError:
            return True
    return False


@pytest.mark.parametrize(
    ("grace_s", "max_tokens", "is_cut"), [("20", 20, False), ("0.3", 10_000, True), ("0", 10_000, True)]
)
def test_sigterm(
    process: Callable[[str], tuple[subprocess.Popen[str], str]],
    soon: Soon,
    grace_s: str,
    max_tokens: int,
    is_cut: bool,
) -> None:
    running, url = process(grace_s)
    started, lines = threading.Event(), list[str]()
    reader = threading.Thread(target=read_stream, args=(url, max_tokens, started, lines))
    reader.start()
    assert started.wait(10)
    running.terminate()
    soon(lambda: is_refused(url))
    assert running.wait(20) == 0
    reader.join(10)
    events = [line for line in lines if line]
    assert events[-1] == "data: [DONE]"
    last = json.loads(events[-2].removeprefix("data: "))
    if is_cut:
        assert last["error"]["code"] == "unavailable"
    else:
        assert last["choices"][0]["finish_reason"] == "length"
    out, err = running.communicate()
    assert out.split() == ["closed", "returned"]
    assert err == ""


def test_a_second_signal_ends_at_once(process: Callable[[str], tuple[subprocess.Popen[str], str]], soon: Soon) -> None:
    running, url = process("60")
    started = threading.Event()

    def read() -> None:
        with contextlib.suppress(httpx.HTTPError):
            read_stream(url, 10_000, started, [])

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(10)
    with httpx.Client(base_url=url) as kept:
        assert kept.get("/health").status_code == 200
        running.send_signal(signal.SIGINT)
        soon(lambda: is_refused(url))
        assert kept.get("/health").status_code == 503  # a connection from before is still answered
        assert kept.post("/v1/completions", json={"prompt": "x"}).status_code == 503
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    assert running.wait(10) != 0
    assert "KeyboardInterrupt" in running.communicate()[1]
    reader.join(10)


def test_port_taken(app: Starlette) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Port {port} is taken.*--port"):
            run(app, ServerSettings(port=port))
    first, second = bind(ServerSettings(port=port)), bind(ServerSettings(port=port))
    with first, second:  # neither listens yet: the loser learns it when it does
        first.listen()
        with pytest.raises(ConfigError, match="is taken"):
            run(app, ServerSettings(port=port), listener=second)


def test_host_that_is_not_ours() -> None:
    with pytest.raises(ConfigError, match="--host"):
        bind(ServerSettings(host="192.0.2.1", port=0))
    with pytest.raises(ConfigError, match="--host"):
        bind(ServerSettings(host="no such host", port=0))


async def test_end_answers(http: httpx.AsyncClient, app: Starlette, backend: ScriptedBackend, soon: Soon) -> None:
    backend.script = (60.0,)
    waiting = asyncio.create_task(http.post("/v1/completions", json={"prompt": "x"}))
    state = app.state.inglenook
    await asyncio.to_thread(soon, lambda: backend.num_open == 1)
    state.end_answers(UnavailableError("over"))
    answer = await waiting
    assert answer.status_code == 503
    assert (state.answers, backend.num_cancelled) == (set(), 1)
