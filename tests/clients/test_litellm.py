"""litellm as a client of the server, by the providers whose APIs the server speaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient

MODEL = "smollm2:135m"


@pytest.fixture(scope="module")
def answer(server: Server) -> str:
    """What the model says to litellm's request."""
    said = server.client().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0
    )
    return said.choices[0].message.content or ""


@pytest.mark.parametrize(
    "provider", ["openai", "hosted_vllm", "litellm_proxy", "huggingface", "anthropic", "ollama_chat"]
)
def test_chat(server: Server, run_client: RunClient, answer: str, provider: str) -> None:
    said = run_client("with_litellm", "chat", server, provider=provider, model=MODEL)
    assert said["text"] == said["streamed"] == answer
    assert (said["finish_reason"], said["streamed_reasons"]) == ("length", ["length"])
    prompt, completion, total = said["usage"]
    assert completion == 8 and prompt > 8 and total == prompt + completion


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_tools(server: Server, run_client: RunClient, provider: str) -> None:
    reason, name, arguments = run_client("with_litellm", "call", server, provider=provider, model=MODEL)
    assert (reason, name) == ("tool_calls", "weather")
    assert json.loads(arguments).keys() == {"city"}


def test_text_completion(server: Server, run_client: RunClient) -> None:
    said = run_client("with_litellm", "complete", server, provider="text-completion-openai", model=MODEL)
    assert said["text"] and said["finish_reason"] == "length"


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_embeddings(embedding_server: Server, run_client: RunClient, embedding_model: str, provider: str) -> None:
    assert run_client("with_litellm", "embed", embedding_server, provider=provider, model=embedding_model) == [384] * 2


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_unknown_model(server: Server, run_client: RunClient, provider: str) -> None:
    kind, message = run_client("with_litellm", "error", server, provider=provider, model="no/such")
    assert kind == "NotFoundError" and MODEL in message
