"""The load generator and what is made of its times."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.chat_server import ChatServer, serve_chat
from inglenook.bench.load import Job, StreamResult, _read_answer, run
from inglenook.bench.server_process import ServerProcessError, as_flags, server_process
from inglenook.bench.through_http import LoadError, _evaluate, percentiles
from inglenook.cli.main import run as run_cli
from inglenook.cli.options import SettingsCommand
from inglenook.config import EngineSettings, ModelSettings
from inglenook.settings import Values

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}'


def chunked(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"


def text_event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "text": text}]}).encode() + b"\n\n"


ANSWER = HEAD + chunked(
    text_event("a") + text_event("é"),
    b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\r\n\r\n',
    b'data: {"choices":[{"delta":{"content":"c"}}]}\r\n\r\n',
    b"data: " + USAGE + b"\n\ndata: [DONE]\n\n",
)


@given(cuts=st.lists(st.integers(1, len(ANSWER) - 1), max_size=12))
def test_pieces_may_end_anywhere(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(ANSWER)]
    pieces = [(float(i), ANSWER[a:b]) for i, (a, b) in enumerate(itertools.pairwise(bounds)) if a < b]
    result = _read_answer(-1.0, pieces)
    assert (result.error, result.text) == (None, "aéc")
    assert (result.num_prompt_tokens, result.num_tokens) == (5, 3)
    end_of_first = ANSWER.index(b"\n\n") + 1  # an event counts when its line is complete
    assert result.token_times_s[0] == next(
        t for (t, _), b in zip(pieces, _ends(pieces), strict=True) if b >= end_of_first
    )
    assert result.token_times_s == sorted(result.token_times_s)


def _ends(pieces: list[tuple[float, bytes]]) -> list[int]:
    ends, total = [], 0
    for _, piece in pieces:
        ends.append(total := total + len(piece))
    return ends


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "without an answer"),
        (ANSWER[:-25], "in the middle"),
        (HEAD + chunked(b"data: {\n\n"), "can't be read"),
        (HEAD + chunked(b'data: {"error":{"message":"broken"}}\n\n'), "broken"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno such", "404: no such"),
        (b"no HTTP\r\n\r\n", "can't be read"),
    ],
)
def test_failures_are_told(data: bytes, message: str) -> None:
    result = _read_answer(0.0, [(1.0, data)] if data else [])
    assert message in (result.error or "")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serve_chat() as running:
        yield running


def job(server: ChatServer, num_streams: int) -> Job:
    bodies = [b'{"n": %d}' % i for i in range(num_streams)]
    port = int(server.url.rsplit(":", 1)[1])
    return Job("127.0.0.1", port, False, "/v1/chat/completions", {"x-key": "k"}, bodies, timeout_s=20)


def test_many_streams(server: ChatServer) -> None:
    server.say("Hello", " there")
    results = run(job(server, 5))
    assert [(r.text, r.error, len(r.token_times_s)) for r in results] == [("Hello there", None, 2)] * 5
    assert all(r.sent_s < r.token_times_s[0] <= r.token_times_s[1] for r in results)
    assert sorted(request["n"] for request in server.requests) == [0, 1, 2, 3, 4]
    assert all(headers["x-key"] == "k" for headers in server.headers)


def test_as_a_process(server: ChatServer) -> None:
    server.say("Hello")
    asked = msgspec.json.encode(job(server, 2))
    done = subprocess.run([sys.executable, "-m", "inglenook.bench.load"], input=asked, capture_output=True)
    assert [r.text for r in msgspec.json.decode(done.stdout, type=list[StreamResult])] == ["Hello", "Hello"]
    gone = msgspec.json.encode(msgspec.structs.replace(job(server, 2), port=1))
    done = subprocess.run([sys.executable, "-m", "inglenook.bench.load"], input=gone, capture_output=True)
    assert [r.error is not None for r in msgspec.json.decode(done.stdout, type=list[StreamResult])] == [True, True]
    assert done.stderr == b""


def test_times_become_figures() -> None:
    streams = [
        StreamResult(0.0, [1.0, 2.0, 3.0, 4.0], num_tokens=4),
        StreamResult(0.5, [1.5, 2.5, 3.5, 4.5], num_tokens=4),
    ]
    figures = _evaluate(streams, 4)
    assert figures.rate == 8 / 4.5
    assert figures.first_token_s == [1.0, 1.0]
    assert figures.inter_token_s == [1.0] * 6
    assert percentiles(figures.inter_token_s) == {"p50": 1.0, "p99": 1.0}
    assert percentiles(list(range(1, 1001))) == {"p50": 501, "p99": 991}


def test_an_event_may_hold_several_tokens() -> None:
    assert _evaluate([StreamResult(0.0, [1.0, 2.0, 3.0], num_tokens=6)], 6).rate == pytest.approx(2.0)


def test_short_streams_are_no_figures() -> None:
    with pytest.raises(LoadError, match="ignore_eos"):
        _evaluate([StreamResult(0.0, [1.0, 2.0], num_tokens=2)], 4)
    with pytest.raises(LoadError, match="broken"):
        _evaluate([StreamResult(0.0, error="broken")], 4)


def test_flags_say_what_the_settings_said() -> None:
    values = {
        "model": "dummy:1b",
        "served_model_name": ("a", "b"),
        "max_model_len": 512,
        "threads": 3,
        "enable_prefix_caching": False,
        "kv_cache_memory_bytes": 2**20,
    }
    classes = (ModelSettings, EngineSettings)
    seen: list[Values] = []
    parser = SettingsCommand("serve", classes=classes, callback=lambda settings: seen.append(settings))
    parser.main(as_flags(classes, values), standalone_mode=False)
    assert seen[0].values == values


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerProcessError, match="such option '--nonsense'"), server_process(["--nonsense"]):
        pass


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["bench", "serve", "--streams", "1,x"]) == 2
    assert "1,8,32" in capsys.readouterr().err
    assert run_cli(["bench", "serve", "--url", "nonsense"]) == 2
    assert "no URL" in capsys.readouterr().err
    assert run_cli(["bench", "serve", "--help"]) == 0
    assert "--streams" in capsys.readouterr().out
