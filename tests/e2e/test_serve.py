"""`inglenook serve` as a process, with real clients."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from fixtures.server_process import Server

QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


def test_chat_with_the_openai_client(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model="smollm2:135m", messages=QUESTION, temperature=0, max_tokens=32
    )
    assert "scattering" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_joins_to_the_whole_answer(server: Server) -> None:
    request = {"model": "smollm2:135m", "messages": QUESTION, "temperature": 0, "max_tokens": 48}
    whole = server.client().chat.completions.create(**request)
    chunks = list(
        server.client().chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_tokens_come_one_by_one(server: Server) -> None:
    # So hot that nothing is repeated: what is drafted comes several tokens at a time.
    stream = server.client().completions.create(
        model="smollm2:135m",
        prompt="Count: one, two,",
        max_tokens=24,
        temperature=1.5,
        seed=1,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    assert len([c for c in stream if c.choices[0].text]) > 12


def test_completions_and_logprobs(server: Server) -> None:
    answer = server.client().completions.create(
        model="smollm2:135m", prompt="The capital of France is", temperature=0, max_tokens=4, logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert "Paris" in answer.choices[0].text
    assert "".join(logprobs.tokens) == answer.choices[0].text
    assert all(value <= 0 for value in logprobs.token_logprobs)


def test_second_turn_reuses_the_first(server: Server) -> None:
    messages = [{"role": "user", "content": "Tell me about lighthouses. " * 40}]
    request = {"model": "smollm2:135m", "messages": messages, "temperature": 0, "max_tokens": 16}
    first = server.client().chat.completions.create(**request)
    again = server.client().chat.completions.create(**request)
    assert again.usage.prompt_tokens > 200
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1
    assert again.choices[0].message.content == first.choices[0].message.content


def test_n_choices(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model="smollm2:135m", messages=QUESTION, n=3, temperature=1.0, max_tokens=16, seed=5
    )
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) > 1


def test_stop_string(server: Server) -> None:
    answer = server.client().completions.create(
        model="smollm2:135m", prompt="1, 2, 3, 4,", temperature=0, max_tokens=40, stop=[" 8"]
    )
    assert answer.choices[0].finish_reason == "stop"
    assert " 7" in answer.choices[0].text
    assert "8" not in answer.choices[0].text


def test_errors_have_the_clients_classes(server: Server) -> None:
    client = server.client()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="smollm2:135m", messages=QUESTION, temperature=9)
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="smollm2:135m", prompt="word " * 20000)
    assert raised.value.code == "context_length_exceeded"
    assert "8192" in raised.value.message


def test_max_tokens_beyond_the_room_is_capped(server: Server) -> None:
    answer = server.client().completions.create(
        model="smollm2:135m", prompt="The end.", max_tokens=1_000_000, stop=["\n"], temperature=0
    )
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_a_closed_stream_frees_everything(server: Server) -> None:
    for _ in range(8):
        stream = server.client().completions.create(
            model="smollm2:135m", prompt="Endless story:", max_tokens=4000, stream=True, extra_body={"ignore_eos": True}
        )
        next(iter(stream))
        stream.close()
    server.wait_until_idle()
    assert server.metric("kv_cache_usage_perc") == 0


def test_a_client_that_leaves_before_the_answer(server: Server) -> None:
    body = {"prompt": "Endless story:", "max_tokens": 4000, "ignore_eos": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/completions", json=body, timeout=0.5)
    server.wait_until_idle()


def test_many_at_once(server: Server) -> None:
    def ask(i: int) -> str:
        answer = server.client().completions.create(
            model="smollm2:135m", prompt=f"Number {i}:", max_tokens=12, temperature=0
        )
        return answer.choices[0].text

    alone = [ask(i) for i in range(4)]
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, [i % 4 for i in range(48)])) == alone * 12


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"messages": []}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": -1}',
        b'{"messages": "hello"}',
        b'{"messages": [{"role": 1, "content": "x"}]}',
        b"[" * 100_000,
        b'{"messages": [{"role": "user", "content": "' + b"a " * 5_000_000 + b'"}]}',
    ],
    ids=lambda body: body[:40].decode(),
)
def test_ugly_bodies(server: Server, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert "Traceback" not in answer.text
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_api_key(serve: Callable[..., Server], default_model: str) -> None:
    server = serve(default_model, "--api-key", "secret")
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    with pytest.raises(openai.AuthenticationError):
        server.client("wrong").models.list()
    assert [m.id for m in server.client("secret").models.list()] == ["smollm2:135m"]


def test_sigterm_lets_a_stream_end(serve: Callable[..., Server], default_model: str) -> None:
    server = serve(default_model)
    stream = server.client().completions.create(
        model="smollm2:135m", prompt="A story:", max_tokens=60, stream=True, extra_body={"ignore_eos": True}
    )
    chunks = iter(stream)
    next(chunks)
    codes: list[int] = []
    stopper = threading.Thread(target=lambda: codes.append(server.stop()))
    stopper.start()
    assert list(chunks)[-1].choices[0].finish_reason == "length"
    stopper.join()
    assert codes == [0]


def test_sigterm_cuts_a_stream_after_the_grace_time(serve: Callable[..., Server], default_model: str) -> None:
    server = serve(default_model, "--shutdown-grace-s", "1")
    with httpx.stream(
        "POST",
        f"{server.url}/v1/completions",
        json={"prompt": "A story:", "max_tokens": 8000, "stream": True, "ignore_eos": True},
        timeout=30,
    ) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.process.terminate()
        rest = [line for line in lines if line]
    assert server.process.wait(20) == 0
    assert rest[-1] == "data: [DONE]"
    assert "error" in json.loads(rest[-2].removeprefix("data: "))


def test_a_second_signal_ends_at_once_and_quietly(serve: Callable[..., Server], default_model: str) -> None:
    server = serve(default_model)
    body = {"prompt": "A story:", "max_tokens": 8000, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=30) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGINT)
        while not any("Stopping" in line for line in server.output):
            next(lines)
        server.process.send_signal(signal.SIGINT)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert server.process.wait(20) == 130
    assert "Traceback" not in "".join(server.output)


def test_port_taken(default_model: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run = subprocess.run(
            [sys.executable, "-m", "inglenook", "serve", default_model, "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.returncode != 0
    assert port in run.stderr
    assert "--port" in run.stderr
    assert "Traceback" not in run.stderr


def test_chat_command(server: Server) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "inglenook", "chat", "--url", server.url, "--temperature", "0", "Why is the sky blue?"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert "scattering" in run.stdout
