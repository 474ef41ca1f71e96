"""The settings file of docs/models.md, served in a process: two engines, their names, their memory, their end."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from fixtures.server_process import Server, start_server

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
QUESTION = [{"role": "user", "content": "Count to five."}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, default_model: str, embedding_model: str) -> Iterator[Server]:
    [text] = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = tmp_path_factory.mktemp("settings") / "models.toml"
    file.write_text(text)
    server = start_server("--config", str(file), "--threads", "2")
    yield server
    assert server.stop() == 0
    assert not [line for line in server.output if "Traceback" in line]


def answer(server: Server, model: str, **options: object) -> openai.types.chat.ChatCompletion:
    client = server.client()
    return client.chat.completions.create(  # type: ignore[call-overload, no-any-return]
        model=model, messages=QUESTION, max_tokens=12, temperature=0, **options
    )


def test_names(server: Server) -> None:
    listed = {model.id: model for model in server.client().models.list()}
    assert list(listed) == ["smollm2:135m", "all-minilm:l6-v2", "noise", "gpt-3.5-turbo"]
    assert listed["smollm2:135m"].max_model_len == 4096  # type: ignore[attr-defined]
    own = answer(server, "smollm2:135m")
    for name in ("gpt-3.5-turbo", "default", "NotRequired"):
        other = answer(server, name)
        assert other.model == name
        assert other.choices[0].message.content == own.choices[0].message.content
    assert answer(server, "noise").choices[0].message.content != own.choices[0].message.content
    with pytest.raises(openai.NotFoundError, match=re.escape("smollm2:135m, all-minilm:l6-v2, noise, gpt-3.5-turbo")):
        answer(server, "gpt-4")


def test_requests_without_a_name_go_where_their_task_is_done(server: Server) -> None:
    """The openai library always sends one; other clients don't."""
    vector = server.client().embeddings.create(model="all-minilm:l6-v2", input="Hi").data[0].embedding
    for body in ({}, {"model": None}, {"model": ""}, {"model": "default"}):
        embedded = httpx.post(f"{server.url}/v1/embeddings", json={"input": "Hi", **body}).json()
        assert embedded["model"] == (body.get("model") or "all-minilm:l6-v2")
        assert embedded["data"][0]["embedding"] == pytest.approx(vector, abs=1e-7)
        chat = httpx.post(f"{server.url}/v1/chat/completions", json={"messages": QUESTION, "max_tokens": 2, **body})
        assert chat.json()["model"] == (body.get("model") or "smollm2:135m")
    with pytest.raises(openai.BadRequestError, match="Of this server's models, smollm2:135m, noise can"):
        answer(server, "all-minilm:l6-v2")
    with pytest.raises(openai.BadRequestError, match=re.escape("all-minilm:l6-v2 can")):
        server.client().embeddings.create(model="gpt-3.5-turbo", input="Hi")


def test_running_answers_of_every_model_come_to_their_end(serve: Callable[..., Server]) -> None:
    server = serve("smollm2:135m", "--model", "dummy:135m", "--shutdown-grace-s", "60")
    streams = [
        server.client().chat.completions.create(
            model=name, messages=QUESTION, max_tokens=120, stream=True, extra_body={"ignore_eos": True}
        )
        for name in ("smollm2:135m", "dummy:135m")
    ]
    first = [next(iter(stream)) for stream in streams]
    server.process.send_signal(signal.SIGTERM)
    for stream in streams:
        chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
    assert {chunk.model for chunk in first} == {"smollm2:135m", "dummy:135m"}
    assert server.process.wait(20) == 0


def test_the_same_tokens_beside_a_busy_neighbour(server: Server) -> None:
    alone = {name: answer(server, name).choices[0].message.content for name in ("smollm2:135m", "noise")}
    with ThreadPoolExecutor(8) as pool:
        names = list(alone) * 8
        texts = list(pool.map(lambda name: answer(server, name).choices[0].message.content, names))
    assert texts == [alone[name] for name in names]
    server.wait_until_idle()


def test_metrics_by_model(server: Server) -> None:
    before = httpx.get(f"{server.url}/metrics").text
    assert answer(server, "gpt-3.5-turbo").usage is not None
    after = httpx.get(f"{server.url}/metrics").text

    def tokens(text: str, name: str) -> float:
        [value] = re.findall(rf'^inglenook:generation_tokens_total{{model_name="{name}"}} (.*)$', text, re.MULTILINE)
        return float(value)

    assert tokens(after, "smollm2:135m") > tokens(before, "smollm2:135m")
    assert tokens(after, "noise") == tokens(before, "noise")


def test_plans_are_printed_for_each(server: Server) -> None:
    text = "".join(server.output)
    assert len(re.findall(r"its share of the .* (free|left)", text)) == 2
    assert re.search(r"key-value cache +256\.0 MiB|key-value cache +25[0-6]\.\d MiB", text)
