"""Every field that a client library's requests can have is known on its route, and on that route's page.

Each is sent with a value that nothing expects: then it is refused by its name, or without effect, or honoured, but
never among the unknown ones. Where a release of a library brings a field, say in the dialect what becomes of it: read
it, or add it to REFUSED or WITHOUT_EFFECT; and in the table of its page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anthropic.types as anthropic
import httpx
import huggingface_hub as hub
import ollama._types as ollama
import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import ChatCompletionStreamOptionsParam
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import ResponseTextConfigParam, input_token_count_params, response_create_params
from openai.types.shared_params import Reasoning

from fixtures.scripted_pooler import ScriptedPooler
from fixtures.served import serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app

DOCS = Path(__file__).parents[2] / "docs"
ODD = {"odd": 1}  # what no field expects, but some take
MESSAGES = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
PROMPT = {"model": "m", "prompt": "Hi"}
LIMITED = {**MESSAGES, "max_tokens": 9}
STREAMED = {"input": "Hi", "stream": True}
VECTORS = {"model": "vectors"}

SERVED = serve(byte_tokenizer(()), ["An answer."])
SERVED.engine.is_guided = False  # it says the same whatever is asked of it
POOLER = create_app(Router([ScriptedPooler()]), ServerSettings(), version="0")


def fields_of(kind: Any) -> set[str]:
    """Of a TypedDict, a pydantic model or a dataclass, by the names that they have in JSON."""
    if dataclasses.is_dataclass(kind):
        return {one.name for one in dataclasses.fields(kind)}
    if hasattr(kind, "model_fields"):
        return {one.alias or name for name, one in kind.model_fields.items()}
    return set(kind.__required_keys__ | kind.__optional_keys__)


@dataclasses.dataclass(frozen=True)
class Published:
    """A library's type of a route's body, or of an object in it. `fits` is the rest of a body that is accepted."""

    path: str
    kind: Any
    fits: Mapping[str, Any]
    page: str
    inside: str | None = None
    app: Any = SERVED.app

    def body(self, name: str, value: Any) -> dict[str, Any]:
        if self.inside is None:
            return {**self.fits, name: value}
        return {**self.fits, self.inside: {name: value}}


PUBLISHED = [
    Published("/v1/chat/completions", chat_create_params.CompletionCreateParamsNonStreaming, MESSAGES, "api.md"),
    Published(
        "/v1/completions", completion_create_params.CompletionCreateParamsNonStreaming, {"prompt": "Hi"}, "api.md"
    ),
    Published(
        "/v1/responses", response_create_params.ResponseCreateParamsNonStreaming, {"input": "Hi"}, "responses.md"
    ),
    Published(
        "/v1/responses/input_tokens", input_token_count_params.InputTokenCountParams, {"input": "Hi"}, "responses.md"
    ),
    Published(
        "/v1/embeddings", embedding_create_params.EmbeddingCreateParams, {"input": "Hi"}, "embeddings.md", app=POOLER
    ),
    Published(
        "/v1/messages",
        anthropic.message_create_params.MessageCreateParamsNonStreaming,
        LIMITED,
        "anthropic.md",
    ),
    Published(
        "/v1/messages?beta=true",
        anthropic.beta.message_create_params.MessageCreateParamsNonStreaming,
        LIMITED,
        "anthropic.md",
    ),
    Published("/v1/messages/count_tokens", anthropic.MessageCountTokensParams, MESSAGES, "anthropic.md"),
    Published("/api/chat", ollama.ChatRequest, MESSAGES, "ollama.md"),
    Published("/api/generate", ollama.GenerateRequest, PROMPT, "ollama.md"),
    Published("/api/generate", ollama.Options, PROMPT, "ollama.md", inside="options"),
    Published("/api/embed", ollama.EmbedRequest, {**VECTORS, "input": "Hi"}, "ollama.md", app=POOLER),
    Published("/api/embeddings", ollama.EmbeddingsRequest, {**VECTORS, "prompt": "Hi"}, "ollama.md", app=POOLER),
    Published("/generate", hub.TextGenerationInput, {"inputs": "Hi"}, "huggingface.md"),
    Published(
        "/generate",
        hub.TextGenerationInputGenerateParameters,
        {"inputs": "Hi"},
        "huggingface.md",
        inside="parameters",
    ),
    Published("/", hub.FeatureExtractionInput, {"inputs": "Hi"}, "huggingface.md", app=POOLER),
    Published("/v1/chat/completions", hub.ChatCompletionInput, MESSAGES, "api.md"),
    # --- objects in bodies
    Published(
        "/v1/chat/completions",
        ChatCompletionStreamOptionsParam,
        {**MESSAGES, "stream": True},
        "api.md",
        "stream_options",
    ),
    Published("/v1/responses", response_create_params.StreamOptions, STREAMED, "responses.md", "stream_options"),
    Published("/v1/responses", Reasoning, {"input": "Hi"}, "responses.md", "reasoning"),
    Published("/v1/responses", ResponseTextConfigParam, {"input": "Hi"}, "responses.md", "text"),
    Published("/v1/messages", anthropic.OutputConfigParam, LIMITED, "anthropic.md", "output_config"),
    Published("/v1/messages", anthropic.beta.BetaOutputConfigParam, LIMITED, "anthropic.md", "output_config"),
    Published("/v1/messages", anthropic.ThinkingConfigEnabledParam, LIMITED, "anthropic.md", "thinking"),
    Published("/v1/messages", anthropic.ToolChoiceToolParam, LIMITED, "anthropic.md", "tool_choice"),
]
EACH = [
    pytest.param(one, name, id=f"{one.path} {one.kind.__name__}.{name}")
    for one in PUBLISHED
    for name in sorted(fields_of(one.kind))
]


async def told(one: Published, name: str) -> str:
    """What the answer says: of an error the message and the parameter, else the warnings."""
    transport = httpx.ASGITransport(one.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        response = await http.post(one.path, json=one.body(name, ODD))
    assert response.status_code in (200, 400, 404, 422), response.text  # 404: for `model`
    return response.text if response.status_code >= 400 else response.headers.get("x-inglenook-warnings", "")


def unknown(said: str) -> set[str]:
    _, _, names = said.partition("unknown fields ignored: ")
    return {name.rpartition(".")[2] for name in names.split(", ")}


@pytest.mark.parametrize(("one", "name"), EACH)
async def test_it_is_known(one: Published, name: str) -> None:
    said = await told(one, name)
    assert name not in unknown(said), "nobody knows it: see above"
    assert not said or name in said, "refused for something else"


@pytest.mark.parametrize(("one", "name"), EACH)
def test_its_page_tells_of_it(one: Published, name: str) -> None:
    """Of types it tells the values."""
    assert name == "type" or f"`{name}`" in (DOCS / one.page).read_text(), f"docs/{one.page} doesn't tell of it"


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: f"{one.path} {one.kind.__name__}")
async def test_what_nobody_publishes_is_not(one: Published) -> None:
    assert unknown(await told(one, "odd_name")) == {"odd_name"}
