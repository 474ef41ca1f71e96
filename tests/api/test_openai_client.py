"""The official client against the server, over a real socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import openai
import pytest
from starlette.applications import Starlette

from inglenook.config import ServerSettings
from inglenook.errors import EngineError, OverloadedError
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import Delta, TokenLogprob, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

QUESTION = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=QUESTION)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "tiny"
    assert answer.system_fingerprint
    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 10
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


def test_chat_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    assert len({chunk.id for chunk in chunks}) == 1
    with_choice = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [choice.delta.role for choice in with_choice] == ["assistant", None, None, None]
    assert "".join(choice.delta.content or "" for choice in with_choice) == "Hello there"
    assert [choice.finish_reason for choice in with_choice] == [None, None, None, "stop"]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3


def test_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="tiny", messages=QUESTION) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "Hello there"


def test_completions(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    answer = client.completions.create(model="tiny", prompt=["a", "b"])
    assert answer.id.startswith("cmpl-")
    assert answer.choices[0].text == "Hello there"
    text = "".join(chunk.choices[0].text for chunk in client.completions.create(model="tiny", prompt="a", stream=True))
    assert text == "Hello there"


async def test_async_client(url: str) -> None:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    answer = await client.chat.completions.create(model="tiny", messages=QUESTION)
    assert answer.choices[0].message.content == "Hello there"
    stream = await client.chat.completions.create(model="tiny", messages=QUESTION, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello there"


def test_logprobs(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    other = TokenLogprob(9, "Hey", b"Hey", float("-inf"))
    hello = TokenLogprob(1, "Hello", b"Hello", -0.5, (TokenLogprob(1, "Hello", b"Hello", -0.5), other))
    backend.script = (
        Delta(0, "Hello", (1,), (hello,)),
        Delta(0, "", (), finish_reason="length", usage=Usage(1, 1)),
    )
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, logprobs=True, top_logprobs=2)
    token = answer.choices[0].logprobs.content[0]
    assert (token.token, token.bytes, token.logprob) == ("Hello", list(b"Hello"), -0.5)
    assert [top.logprob for top in token.top_logprobs] == [-0.5, -9999.0]
    chunks = list(
        client.chat.completions.create(model="tiny", messages=QUESTION, logprobs=True, top_logprobs=2, stream=True)
    )
    assert [len(chunk.choices[0].logprobs.content) for chunk in chunks if chunk.choices[0].logprobs] == [1]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "org/model"]
    assert client.models.retrieve("org/model").id == "org/model"  # the client sends %2F
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "expected"),
    [(OverloadedError("full"), openai.RateLimitError), (EngineError("broken"), openai.InternalServerError)],
)
def test_failures_before_the_first_token(
    client: openai.OpenAI,
    backend: ScriptedBackend,
    failure: Exception,
    expected: type[openai.APIStatusError],
    stream: bool,
) -> None:
    backend.script = (failure,)
    with pytest.raises(expected, match=str(failure)):
        client.chat.completions.create(model="tiny", messages=QUESTION, stream=stream)


def test_failure_after_the_first_token(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "Hello", (1,)), 0.05, EngineError("broken"))
    stream = iter(client.chat.completions.create(model="tiny", messages=QUESTION, stream=True))
    assert next(stream).choices[0].delta.role == "assistant"
    with pytest.raises(openai.APIError, match="broken"):
        list(stream)


def test_error_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as not_found:
        client.chat.completions.create(model="gpt-none", messages=QUESTION)
    assert not_found.value.code == "model_not_found"
    assert "tiny" in not_found.value.message
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="tiny", messages=QUESTION, temperature=3)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as unsupported:
        client.chat.completions.create(model="tiny", messages=QUESTION, verbosity="low")
    assert (unsupported.value.param, unsupported.value.code) == ("verbosity", "unsupported_parameter")


def test_keys(backend: ScriptedBackend, listen: Callable[[Starlette], str]) -> None:
    url = listen(create_app(Router([backend]), ServerSettings(api_key=("first", "second")), version="0"))
    for key in ("first", "second"):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
        assert client.chat.completions.create(model="tiny", messages=QUESTION).choices
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{url}/v1", api_key="third", max_retries=0).models.list()
