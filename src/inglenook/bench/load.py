"""The load generator, a process of its own: many streams at once from one server, and when each piece of them came.

While streams run it only waits and reads, since it may share the server's cores; answers are looked into afterwards.
`python -m inglenook.bench.load` takes a Job on standard input and writes StreamResults, both as JSON.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from typing import Any

import httptools
import msgspec

_READ_BYTES = 65536
_DONE = b"[DONE]"  # the data of a stream's last event


class Job(msgspec.Struct):
    """All requests are sent at once, each over a connection of its own that was opened before."""

    host: str
    port: int
    is_tls: bool
    path: str
    headers: dict[str, str]
    bodies: list[bytes]
    timeout_s: float  # between two pieces of any stream


class StreamResult(msgspec.Struct):
    """One stream. Times are in seconds of one clock for all streams."""

    sent_s: float
    token_times_s: list[float] = []  # of every event with text
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    text: str = ""
    error: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


def run(job: Job) -> list[StreamResult]:
    """Raises OSError where the server can't be reached, or is silent for too long."""
    head = [f"POST {job.path} HTTP/1.1", f"host: {_bracketed(job.host)}:{job.port}", "connection: close"]
    head += [f"{name}: {value}" for name, value in job.headers.items()]
    requests = [("\r\n".join([*head, f"content-length: {len(b)}", "", ""])).encode() + b for b in job.bodies]
    connections = [_connect(job) for _ in requests]
    try:
        sent, pieces = _exchange(connections, requests, job.timeout_s)
    finally:
        for connection in connections:
            connection.close()
    return [_read_answer(sent_s, read) for sent_s, read in zip(sent, pieces, strict=True)]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _connect(job: Job) -> socket.socket:
    connection = socket.create_connection((job.host, job.port), timeout=job.timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if job.is_tls:
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=job.host)
    return connection


def _exchange(
    connections: Sequence[socket.socket], requests: Sequence[bytes], timeout_s: float
) -> tuple[list[float], list[list[tuple[float, bytes]]]]:
    """When each request was sent, and what came when, up to the end of each connection."""
    clock = time.perf_counter
    selector = selectors.DefaultSelector()
    sent: list[float] = []
    pieces: list[list[tuple[float, bytes]]] = [[] for _ in connections]
    for connection, request, read in zip(connections, requests, pieces, strict=True):
        sent.append(clock())
        connection.sendall(request)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, (connection.recv, read))
    num_open = len(connections)
    while num_open:
        ready = selector.select(timeout_s)
        if not ready:
            raise TimeoutError(f"nothing came for {timeout_s:g} s")
        for key, _ in ready:
            receive, read = key.data
            try:
                data = receive(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            if data:
                read.append((clock(), data))
            else:
                selector.unregister(key.fileobj)
                num_open -= 1
    return sent, pieces


# --- afterwards -----------------------------------------------------------------------------------------


class _Body:
    """Collects what httptools' parser finds between two calls of `take`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _read_answer(sent_s: float, pieces: Sequence[tuple[float, bytes]]) -> StreamResult:
    result = StreamResult(sent_s)
    body = _Body()
    parser = httptools.HttpResponseParser(body)
    rest = b""
    is_done = False
    try:
        for now_s, piece in pieces:
            parser.feed_data(piece)
            rest += body.take()
            if parser.get_status_code() != 200:
                continue
            *lines, rest = rest.split(b"\n")
            for data in (line[5:].strip() for line in lines if line.startswith(b"data:")):
                is_done = is_done or data == _DONE
                if not is_done:
                    _read_event(data, now_s, result)
    except (httptools.HttpParserError, msgspec.DecodeError) as error:
        result.error = f"The answer can't be read: {error}"
        return result
    status = parser.get_status_code()
    if not pieces:
        result.error = "The connection was closed without an answer."
    elif status != 200:
        result.error = f"HTTP status {status}: {rest[:500].decode(errors='replace')}"
    elif not is_done and result.error is None:
        result.error = "The connection was closed in the middle of an answer."
    return result


def _read_event(data: bytes, time_s: float, result: StreamResult) -> None:
    event = _decode_event(data)
    if event.error is not None:
        result.error = str(event.error)[:500]
    if event.usage is not None:
        result.num_prompt_tokens, result.num_tokens = event.usage.prompt_tokens, event.usage.completion_tokens
    for choice in event.choices:
        if text := choice.text or (choice.delta and choice.delta.content):
            result.token_times_s.append(time_s)
            result.text += text


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        results = run(job)
    except OSError as error:
        results = [StreamResult(0.0, error=f"{job.host}:{job.port}: {error}") for _ in job.bodies]
    sys.stdout.buffer.write(msgspec.json.encode(results))


if __name__ == "__main__":
    main()
