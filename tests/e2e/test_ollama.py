"""Ollama's client, and what agents' programs send to Ollama byte for byte, against the real default model."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import ollama
import pytest

from fixtures import ollama_schemas as shapes
from fixtures.ollama_schemas import joined, lines_of
from fixtures.server_process import Server

MODEL = "smollm2:135m"
QUESTION: Any = [{"role": "user", "content": "why is the sky blue?"}]
SHORT = {"num_predict": 12, "temperature": 0}
# As MetaGPT's guide for open models has it: no content type, and streamed since nothing else is said.
CURL = """curl -X POST http://localhost:11434/api/chat -d '{
  "model": "llama2",
  "messages": [
    {
      "role": "user",
      "content": "why is the sky blue?"
    }
  ]
 }'"""


@pytest.fixture
def client(server: Server) -> ollama.Client:
    return ollama.Client(host=server.url)


def post(server: Server, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    content = json.dumps(body).encode()
    response = httpx.post(f"{server.url}{path}", content=content, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return response


def test_whole_and_streamed(server: Server) -> None:
    """Streamed first: what was answered before comes in drafts, and so in few pieces."""
    chat = {"messages": [{"role": "user", "content": "How do whales sleep?"}]}
    for path, asked in (("/api/chat", chat), ("/api/generate", {"prompt": "Who built the pyramids?"})):
        body = {"model": MODEL, "options": SHORT, **asked}
        is_chat = "messages" in asked
        lines = lines_of(post(server, path, body).text, is_chat=is_chat)
        whole = post(server, path, {**body, "stream": False}).json()
        jsonschema.validate(whole, shapes.CHAT_END if is_chat else shapes.GENERATE_END)
        assert joined([whole]) == joined(lines)
        assert (whole["done_reason"], whole["eval_count"]) == ("length", 12)
        assert len(lines) > 2
        assert 0 < whole["prompt_eval_duration"] < whole["total_duration"]
        assert 0 < whole["eval_duration"] < whole["total_duration"]


def test_the_same_as_openais_route(server: Server, client: ollama.Client) -> None:
    """Options are the same sampling, the prompt is the same prompt."""
    ours = client.chat(
        MODEL, QUESTION, options={"num_predict": 20, "seed": 5, "temperature": 0.7, "repeat_penalty": 1.1}
    )
    theirs = server.client().chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        max_tokens=20,
        seed=5,
        temperature=0.7,
        extra_body={"repetition_penalty": 1.1},
    )
    assert ours.message.content == theirs.choices[0].message.content
    assert theirs.usage is not None
    assert ours.prompt_eval_count == theirs.usage.prompt_tokens
    answer = client.generate(MODEL, "why is the sky blue?", options=SHORT)
    assert answer.response == client.chat(MODEL, QUESTION, options=SHORT).message.content


def test_context_goes_on(client: ollama.Client) -> None:
    first = client.generate(MODEL, "My name is Ada.", options=SHORT)
    assert first.context is not None and first.prompt_eval_count is not None
    second = client.generate(MODEL, "What is my name?", context=first.context, options=SHORT)
    assert second.context is not None and second.prompt_eval_count is not None
    assert second.context[: len(first.context)] == first.context
    assert second.prompt_eval_count > len(first.context)


def test_num_ctx_bounds_the_request(server: Server, client: ollama.Client) -> None:
    prompt = client.chat(MODEL, QUESTION, options=SHORT).prompt_eval_count
    assert prompt is not None
    answer = client.chat(MODEL, QUESTION, options={"num_ctx": prompt + 5, "temperature": 0})
    assert (answer.done_reason, answer.eval_count) == ("length", 5)
    with pytest.raises(ollama.ResponseError, match=f"context length is {prompt} tokens") as caught:
        client.chat(MODEL, QUESTION, options={"num_ctx": prompt})
    assert caught.value.status_code == 400
    body = {"model": MODEL, "messages": QUESTION, "options": {**SHORT, "num_ctx": 1 << 20}}
    assert "1048576" in post(server, "/api/chat", body).headers["x-inglenook-warnings"]
    cut = {"model": MODEL, "messages": QUESTION, "truncate": True, "options": {**SHORT, "num_ctx": prompt}}
    assert "cut off" in post(server, "/api/chat", cut).headers["x-inglenook-warnings"]


def test_formats(client: ollama.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string", "maxLength": 20}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    answer = client.chat(MODEL, QUESTION, format=schema, options={"num_predict": 60, "temperature": 0})
    jsonschema.validate(json.loads(answer.message.content or ""), schema)
    text = client.generate(MODEL, 'Answer as {"a": 1}.', format="json", options={"num_predict": 200, "temperature": 0})
    assert text.response.startswith("{")
    assert client.generate(MODEL, "Hi", format="", options=SHORT).response


def test_models(client: ollama.Client) -> None:
    [model] = client.list().models
    assert (model.model, model.details and model.details.quantization_level) == (MODEL, "Q4_1")
    assert model.size and model.size > 90_000_000
    shown = client.show(MODEL)
    assert shown.modelinfo and shown.modelinfo["llama.context_length"] == 8192
    assert shown.template and "<|im_start|>" in shown.template
    assert client.ps().models[0].context_length == 8192
    assert client.pull(MODEL).status == "success"


def test_an_agent_that_interrupts(server: Server, client: ollama.Client) -> None:
    stream = client.chat(MODEL, QUESTION, stream=True, options={"num_predict": 4000, "temperature": 0})
    assert [next(stream).done for _ in range(3)] == [False] * 3
    stream.close()
    server.wait_until_idle()


# --- programs -------------------------------------------------------------------------------------


def test_the_curl_line_of_the_guides(serve: Callable[..., Server]) -> None:
    """Only the address and the model are changed. The context is short: what is sampled may go on to its end."""
    server = serve(MODEL, "--max-model-len", "512")
    line = CURL.replace("http://localhost:11434", server.url).replace("llama2", MODEL)
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=True)
    lines = lines_of(run.stdout, is_chat=True)
    last = lines[-1]
    is_full = last["prompt_eval_count"] + last["eval_count"] == 512
    assert len(lines) > 2 and last["done_reason"] == ("length" if is_full else "stop")


def test_metagpt(server: Server) -> None:
    """Its base URL ends in /api; it asks for a temperature, and embeds with the options of a chat."""
    body = {
        "model": MODEL,
        "messages": QUESTION,
        "options": {"temperature": 0.3, "num_predict": 12, "seed": 1},
        "stream": False,
    }
    answer = post(server, "/api/chat", body, **{"content-type": "application/json"}).json()
    assert answer["message"]["content"] and answer["prompt_eval_count"] and answer["eval_count"]
    stream = post(server, "/api/chat", {**body, "stream": True}, **{"content-type": "application/json"})
    assert stream.headers["content-type"] == "application/x-ndjson"
    assert "".join(json.loads(line)["message"]["content"] for line in stream.text.splitlines())
    generated = post(server, "/api/generate", {**body, "prompt": "Hi"}).json()
    assert generated["response"]


def test_litellm(server: Server) -> None:
    """No content type, an empty list of images, and `name` for a model."""
    shown = post(server, "/api/show", {"name": MODEL}).json()
    jsonschema.validate(shown, shapes.SHOW)
    body = {"model": MODEL, "prompt": "Hi", "options": SHORT, "stream": False, "images": []}
    jsonschema.validate(post(server, "/api/generate", body).json(), shapes.GENERATE_END)
    form = {"content-type": "application/x-www-form-urlencoded"}
    lines_of(post(server, "/api/generate", {**body, "stream": True}, **form).text, is_chat=False)
    lines_of(post(server, "/api/chat", {"model": MODEL, "messages": QUESTION, "options": SHORT}).text, is_chat=True)


def test_autogen(server: Server) -> None:
    """AutoGen 0.2's client for Ollama: no format in its own words for tools, streams off."""
    client = ollama.Client(host=server.url)
    messages: Any = [
        {"role": "system", "content": "You are a helpful AI assistant."},
        {"role": "user", "content": "What is the weather in Paris?"},
    ]
    tools: Any = [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ]
    answer = client.chat(
        model=MODEL, messages=messages, tools=tools, stream=False, options={"num_predict": 60, "seed": 3}
    )
    assert answer["done_reason"] in ("stop", "length")
    assert answer["message"]["content"] or answer["message"]["tool_calls"]
    messages += [
        {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]},
        {"role": "tool", "tool_name": "get_weather", "content": "It rains."},
    ]
    answer = client.chat(model=MODEL, messages=messages, format="", stream=False, options=SHORT)
    assert answer["message"]["content"]


def test_the_example_of_the_documentation(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ollama.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(example.replace("http://127.0.0.1:8000", server.url), {})
    assert capsys.readouterr().out.strip()


def test_vectors(serve: Callable[..., Server], embedding_model: str) -> None:
    """A model of the kind that agents' programs embed with, asked in both ways, and as MetaGPT does."""
    server = serve(embedding_model)
    client = ollama.Client(host=server.url)
    both = client.embed(embedding_model, ["The sea is blue.", "Rain falls."])
    assert len(both.embeddings) == 2 and len(both.embeddings[0]) == 384
    assert sum(x * x for x in both.embeddings[0]) == pytest.approx(1, abs=1e-4)
    assert both.prompt_eval_count and both.total_duration
    old = client.embeddings(embedding_model, "The sea is blue.")
    assert list(old.embedding) == pytest.approx(list(both.embeddings[0]), abs=1e-6)
    body = {"model": embedding_model, "prompt": "The sea is blue.", "options": {"temperature": 0.3}}
    assert post(server, "/api/embeddings", body).json()["embedding"] == list(old.embedding)
    assert client.show(embedding_model).capabilities == ["embedding"]
    with pytest.raises(ollama.ResponseError, match="embeddings"):
        client.chat(embedding_model, QUESTION)
