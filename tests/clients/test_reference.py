"""Commands and programs from the documentation of agents and of other servers, with our address in place of theirs."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from fixtures import openai_shapes
from fixtures.server_process import Server, start_server

if TYPE_CHECKING:
    from conftest import ClientsPython

PROGRAMS = Path(__file__).parent / "reference"
NAMES = (
    "gpt-3.5-turbo",
    "gpt-4",
    "llama2",
    "llama2-13b",
    "vicuna",
    "facebook/opt-125m",
    "mistralai/Mistral-7B-Instruct-v0.2",
)
ADDRESS = re.compile(r"http://(?:0\.0\.0\.0|localhost|127\.0\.0\.1):\d+")


@pytest.fixture(scope="module")
def named_server(
    default_model: str, default_gguf_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One model under the names that the documents give. What they leave open is the model's own: here it is greedy, so
    that they get the same answers each time. The context is short, so that what rambles comes to an end.
    """
    folder = tmp_path_factory.mktemp("greedy")
    (folder / default_gguf_path.name).symlink_to(default_gguf_path)
    (folder / "generation_config.json").write_text('{"temperature": 0}')
    aliases = [f"{name}={default_model}" for name in NAMES]
    named = ("--served-model-name", default_model, "--alias", *aliases)
    server = start_server(str(folder), "--max-model-len", "1024", *named)
    yield server
    assert server.stop() == 0


# --- curl -----------------------------------------------------------------------------------------

CHAT = """curl -X POST http://0.0.0.0:8000/v1/chat/completions -H "content-type:application/json" -d '{
  "messages":[{"role":"user","content":"who are you"}],
  "model": "%s",
  "stream": false,
  "max_tokens": 256
}'"""


def run(command: str, server: Server) -> str:
    command = ADDRESS.sub(server.url, command).replace("curl", "curl --silent --show-error --fail-with-body", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "llama2-13b", "vicuna"])
def test_curl_chat(named_server: Server, model: str) -> None:
    """LLaMA-Factory's, FastChat's and vLLM's request examples."""
    answer = json.loads(run(CHAT % model, named_server))
    jsonschema.validate(answer, openai_shapes.CHAT_COMPLETION)
    assert answer["model"] == model and answer["choices"][0]["message"]["content"]


def test_curl_ollama(named_server: Server) -> None:
    """No content type but curl's own, no `stream`: it is streamed."""
    command = """curl -X POST http://localhost:11434/api/chat -d '{
  "model": "llama2",
  "messages": [
    {
      "role": "user",
      "content": "why is the sky blue?"
    }
  ]
 }'"""
    lines = [json.loads(line) for line in run(command, named_server).splitlines()]
    assert "".join(line["message"]["content"] for line in lines)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    counts = ("prompt_eval_count", "eval_count", "total_duration", "load_duration", "prompt_eval_duration")
    assert all(name in lines[-1] for name in (*counts, "eval_duration"))


def test_curl_models(named_server: Server) -> None:
    models = json.loads(run("curl http://localhost:8000/v1/models", named_server))
    jsonschema.validate(models, openai_shapes.MODELS)
    assert {model["id"] for model in models["data"]} == {"smollm2:135m", *NAMES}


# --- programs -------------------------------------------------------------------------------------


def program(server: Server, python: ClientsPython, name: str, typed: str = "", **environment: str) -> str:
    """What a program prints when somebody types these lines."""
    text = ADDRESS.sub(server.url, (PROGRAMS / f"{name}.py").read_text())
    with tempfile.TemporaryDirectory() as folder:  # AutoGen keeps its cache where it runs
        done = subprocess.run(
            [python.path, "-c", text],
            input=typed,
            capture_output=True,
            text=True,
            timeout=280,
            env={**python.environment, "AUTOGEN_USE_DOCKER": "0", **environment},
            cwd=folder,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout


def said_by(agent: str, output: str) -> list[str]:
    """What an agent said, in order."""
    found = re.findall(
        rf"^(?:\x1b\[\d+m)?{agent} ?\(to .*?\):(?:\x1b\[\d+m)?\n\n(.*?)\n\n-{{20,}}", output, re.M | re.S
    )
    return [text.strip() for text in found]


@pytest.mark.parametrize("name", ["autogen_proxy", "autogen_vllm"])
def test_a_conversation(named_server: Server, clients_python: ClientsPython, name: str) -> None:
    output = program(named_server, clients_python, name, "Tell me, why is the sky blue?\nexit\n")
    said = said_by("agent", output)
    assert said[0] == "How can I help you today?" and len(said) == 2 and said[1]


def test_a_function(named_server: Server, clients_python: ClientsPython) -> None:
    output = program(named_server, clients_python, "autogen_tools")
    assert "How much is 123.45 EUR in USD?" in output
    if "Suggested tool" in output:  # whether such a small model calls is its own affair
        assert '"base_amount"' in output and "Response from calling tool" in output
    assert said_by("chatbot", output) or "Suggested tool" in output


def test_azure(named_server: Server, clients_python: ClientsPython) -> None:
    output = program(named_server, clients_python, "autogen_azure", "exit\n")
    assert said_by("assistant", output)[0]


def test_an_entry_without_a_key(named_server: Server, clients_python: ClientsPython) -> None:
    """The openai SDK wants one all the same."""
    output = program(named_server, clients_python, "autogen_no_key", OPENAI_API_KEY="none")
    assert re.search(r"^assistant: \S", output, re.M)


# --- how servers are started ----------------------------------------------------------------------

TEMPLATE = """{{ bos_token }}
{% for message in messages %}
    {% if ((message['role'] == 'user' or message['role'] == 'system') != (loop.index0 % 2 == 0)) %}
        {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {% endif %}

    {% if (message['role'] == 'user' or message['role'] == 'system') %}
        {{ '[INST] ' + message['content'] + ' [/INST]' }}
    {% elif message['role'] == 'assistant' %}
        {{ message['content'] + eos_token}}
    {% else %}
        {{ raise_exception('Only system, user and assistant roles are supported!') }}
    {% endif %}
{% endfor %}
"""


def answers(server: Server, model: str) -> Any:
    """An AutoGen conversation: two system messages, one of them last."""
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi", "name": "user proxy"},
        {"role": "system", "content": "Answer now."},
    ]
    return server.client().chat.completions.create(model=model, messages=messages, max_tokens=4).choices[0].message


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ("--model MODEL --served-model-name llama2-13b", "llama2-13b"),
        ("--model MODEL --chat-template autogenmistraltemplate.jinja", "MODEL"),
        ("--model MODEL --dtype auto --max-model-len 4096", "MODEL"),
        ("--host 127.0.0.1 --model MODEL", "MODEL"),
    ],
)
def test_vllms_command(default_model: str, tmp_path: Path, arguments: str, model: str) -> None:
    """python -m vllm.entrypoints.openai.api_server ... is python -m inglenook.server ... ."""
    template = tmp_path / "autogenmistraltemplate.jinja"
    template.write_text(TEMPLATE)
    given = arguments.replace("MODEL", default_model).replace(template.name, str(template)).split()
    server = start_server(*given)
    try:
        assert answers(server, model.replace("MODEL", default_model)).content
    finally:
        assert server.stop() == 0
