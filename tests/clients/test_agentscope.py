"""agentscope 0.0.1 against the server: its model configs as its documentation has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import jsonschema
import pytest

from fixtures.flask_schemas import ANSWER
from fixtures.server_process import Server, start_server

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

GENERATE = {"max_tokens": 12, "temperature": 0.5, "seed": 1}
ARGUMENTS = {"max_length": 400, "temperature": 0.5, "seed": 1}


@pytest.fixture(scope="module")
def flat_server(default_model: str) -> Iterator[Server]:
    """As AgentScope's OpenAI wrappers need it: any name of a model, and no objects within usage."""
    server = start_server(default_model, "--any-model", "--no-usage-details")
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize("name", ["gpt-4-temperature-0.0", "meta-llama/Llama-2-7b-chat-hf"])
def test_openai(flat_server: Server, run_client: RunClient, name: str) -> None:
    """The name of the config is sent as the model's; every message has the role assistant."""
    answers = run_client(
        "with_agentscope",
        "openai_dialog",
        flat_server,
        texts=["Hi", "Name a colour."],
        config_name=name,
        organization="xxx",
        generate_args=GENERATE,
    )
    assert len(answers) == 2 and all(answers)


def test_openai_at_a_served_model(server: Server, run_client: RunClient) -> None:
    """Without --no-usage-details its monitor can't store usage, and says so: the details are there to see."""
    with pytest.raises(AssertionError, match="type 'dict' is not supported"):
        run_client(
            "with_agentscope",
            "openai_dialog",
            server,
            texts=["Hi"],
            config_name="smollm2:135m",
            generate_args=GENERATE,
        )


@pytest.mark.parametrize("texts", ["One text.", ["One text.", "Another one."]])
def test_openai_embedding(
    embedding_server: Server, run_client: RunClient, embedding_model: str, texts: str | list[str]
) -> None:
    vectors = run_client(
        "with_agentscope", "embedding", embedding_server, texts=texts, config_name="e", model_name=embedding_model
    )
    assert [len(vector) for vector in vectors] == [384] * (1 if isinstance(texts, str) else 2)


def test_post_api_chat(server: Server, run_client: RunClient) -> None:
    answers = run_client(
        "with_agentscope", "post_dialog", server, texts=["Hi", "Name a colour."], json_args=ARGUMENTS, timeout=60
    )
    assert len(answers) == 2 and all(answers)


def test_a_dialogue_reaches_the_model_whole(scripted_server: ScriptedServer, run_client: RunClient) -> None:
    scripted_server.play("Blue.", "Red.")
    answers = run_client(
        "with_agentscope", "post_dialog", scripted_server, texts=["Hi", "Name a colour."], json_args=ARGUMENTS
    )
    assert answers == ["Blue.", "Red."]
    last = scripted_server.prompts[-1]
    positions = [last.index(text) for text in ("You answer in one word.", "Hi", "Blue.", "Name a colour.")]
    assert positions == sorted(positions)
    assert last.rstrip().endswith("assistant"), "a turn of the model's own is opened"


def test_post_api(server: Server, run_client: RunClient) -> None:
    raw = run_client(
        "with_agentscope", "post", server, inputs="user: Hi\nassistant:", json_args={**ARGUMENTS, "max_length": 30}
    )
    jsonschema.validate(raw, ANSWER)
    assert raw["n_token_prompt"] + raw["n_token_response"] <= 30


def test_post_api_to_hugging_faces_api(server: Server, run_client: RunClient) -> None:
    raw = run_client(
        "with_agentscope",
        "post",
        server,
        path="/models/smollm2:135m",
        inputs="Once upon a time",
        headers={"Authorization": "Bearer {YOUR_API_TOKEN}"},
    )
    assert raw[0]["generated_text"].startswith("Once upon a time")


def test_an_error_is_tried_again_and_told(server: Server, run_client: RunClient) -> None:
    with pytest.raises(AssertionError, match=r"Failed to call the model with requests.codes == 400"):
        run_client("with_agentscope", "post", server, inputs="Hi", json_args={"num_beams": 4}, retry_interval=0)


def test_the_requests_bytes(server: Server) -> None:
    """What the library sends, without it: the key that says nothing, the organization, messages of one role."""
    body = {
        "model": "smollm2:135m",
        "messages": [
            {"role": "assistant", "content": "You're a helpful assistant."},
            {"role": "assistant", "name": "Bob Müller", "content": "Name a colour."},
        ],
        "temperature": 0.0,
        "max_tokens": 8,
    }
    headers = {"Authorization": "Bearer EMPTY", "OpenAI-Organization": "xxx"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers).json()
    assert answer["choices"][0]["message"]["content"]
