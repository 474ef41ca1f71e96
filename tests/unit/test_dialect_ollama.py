"""Ollama's requests as they are read: what becomes of each field and option, and what is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from inglenook.dialects.ollama.answers import timestamp
from inglenook.dialects.ollama.models import spellings
from inglenook.dialects.ollama.options import REFUSED as REFUSED_OPTIONS
from inglenook.dialects.ollama.options import WITHOUT_EFFECT
from inglenook.dialects.ollama.requests import (
    REFUSED,
    OllamaCall,
    parse_chat,
    parse_embed,
    parse_embeddings,
    parse_generate,
)
from inglenook.dialects.ollama.schemas import (
    chat_schema,
    embed_schema,
    embeddings_schema,
    generate_schema,
    options_schema,
)
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import ChatRequest, CompletionRequest, Message, ReasoningOptions, SamplingParams

QUESTION: Any = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> OllamaCall:
    return parse_chat(json.dumps({"model": "m", "messages": QUESTION, **fields}).encode(), "id")


def generate(**fields: Any) -> OllamaCall:
    return parse_generate(json.dumps({"model": "m", "prompt": "Hi", **fields}).encode(), "id")


def asked(call: OllamaCall) -> ChatRequest:
    assert isinstance(call.request, ChatRequest)
    return call.request


def sampled(**options: Any) -> SamplingParams:
    return asked(chat(options=options)).sampling


# --- options --------------------------------------------------------------------------------------


def test_options() -> None:
    sampling = sampled(
        num_predict=9,
        temperature=0.3,
        top_k=40,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.7,
        repeat_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        seed=42,
        stop=["a", "", "b"],
    )
    assert sampling == SamplingParams(
        max_tokens=9,
        temperature=0.3,
        top_k=40,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.7,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        seed=42,
        stop=("a", "b"),
    )
    assert asked(chat(options={"num_ctx": 2048})).max_total_tokens == 2048
    assert chat(options=None).request == chat(options={}).request == chat().request


@pytest.mark.parametrize("number", [-1, -2, 0])
def test_no_limit(number: int) -> None:
    assert sampled(num_predict=number).max_tokens is None
    assert sampled(seed=-1).seed is None


def test_what_is_left_to_the_model() -> None:
    assert asked(chat(options={"temperature": 0, "repeat_penalty": 1.1, "top_k": None})).model_defaulted == {
        "top_p",
        "top_k",
        "min_p",
    }


def test_the_window_of_the_penalty() -> None:
    assert sampled(repeat_last_n=0, repeat_penalty=1.3).repetition_penalty == 1.0
    assert sampled(repeat_last_n=-1, repeat_penalty=1.3).repetition_penalty == 1.3
    assert chat(options={"repeat_last_n": -1, "repeat_penalty": 1.3}).warnings == ()
    assert len(chat(options={"repeat_last_n": 64, "repeat_penalty": 1.3}).warnings) == 1
    assert chat(options={"repeat_last_n": 64}).warnings == ()


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_options_without_effect(name: str) -> None:
    call = chat(options={name: 1})
    assert call.unknown_fields == () and call.request == chat().request


def test_unknown_names() -> None:
    assert chat(foo=1, options={"bar": 2, "baz": None}).unknown_fields == ("foo", "options.bar")


# --- messages -------------------------------------------------------------------------------------


def test_messages() -> None:
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Hi", "images": []},
        {"role": "assistant", "thinking": "hm", "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "a"},
    ]
    request = asked(chat(messages=messages))
    assert request.messages == (
        Message("system", ""),
        Message("user", "Hi"),
        Message("assistant", None, None, {"reasoning_content": "hm", "tool_calls": [{"type": "function", **call}]}),
        Message("tool", "1", "f", {"tool_call_id": "a"}),
    )
    assert request.add_generation_prompt


def test_prefill() -> None:
    begun = [*QUESTION, {"role": "assistant", "content": "I"}]
    assert asked(chat(messages=begun)).continue_final_message
    assert not asked(chat(messages=begun)).add_generation_prompt
    nobody_asks = [{"role": "assistant", "content": "You are an agent."}, {"role": "assistant", "content": "Go."}]
    assert asked(chat(messages=nobody_asks)).add_generation_prompt


def test_tools() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    use = asked(chat(tools=[tool])).tool_use
    assert (use.mode, [one.name for one in use.tools]) == ("auto", ["f"])
    assert asked(chat(tools=[])).tool_use.tools == ()


# --- the rest -------------------------------------------------------------------------------------


def test_streams_are_the_default() -> None:
    assert chat().stream and generate().stream and not chat(stream=False).stream


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (None, ReasoningOptions()),
        ("", ReasoningOptions()),
        (True, ReasoningOptions(is_enabled=True)),
        (False, ReasoningOptions(is_enabled=False, is_included=False)),
        ("high", ReasoningOptions("high", True)),
    ],
)
def test_think(think: Any, expected: ReasoningOptions) -> None:
    assert asked(chat(think=think)).reasoning == asked(generate(think=think)).reasoning == expected


def test_formats() -> None:
    for nothing in ("", None, {}):
        assert asked(chat(format=nothing)).constraint is None
    anything, schema = (asked(chat(format=one)).constraint for one in ("json", {"type": "array"}))
    assert anything is not None and schema is not None
    assert (anything.kind, schema.kind, schema.value) == ("json_object", "json_schema", {"type": "array"})


def test_loading() -> None:
    for call in (chat(messages=[]), chat(messages=None), generate(prompt=""), generate(prompt=None)):
        assert call.request is None and not call.is_unload
    for keep_alive in (0, 0.0, "0", "0s", "0m"):
        assert chat(messages=[], keep_alive=keep_alive).is_unload
        assert not chat(keep_alive=keep_alive).is_unload
    assert not chat(messages=[], keep_alive="10m").is_unload
    assert chat(keep_alive=-1).unknown_fields == ()


def test_generate() -> None:
    request = asked(generate(system="Be brief.", context=[1, 2]))
    assert [(m.role, m.content) for m in request.messages] == [("system", "Be brief."), ("user", "Hi")]
    assert generate(context=[1, 2]).context == (1, 2)
    raw = generate(raw=True, images=[]).request
    assert isinstance(raw, CompletionRequest) and raw.prompts == ("Hi",)
    middle = generate(suffix="end").request
    assert isinstance(middle, CompletionRequest) and (middle.prompts, middle.suffix) == (("Hi",), "end")
    assert asked(generate(template="{{ x }}")).chat_template == "{{ x }}"
    assert asked(chat(truncate=True)).truncate_prompt_tokens == -1
    assert asked(chat()).truncate_prompt_tokens is asked(chat(truncate=False)).truncate_prompt_tokens is None


def test_texts_to_embed() -> None:
    def embed(**fields: Any) -> Any:
        return parse_embed(json.dumps({"model": "m", **fields}).encode(), "id").request

    assert embed(input="a").inputs == ("a",)
    assert embed(input=["a", "b"]).inputs == ("a", "b")
    assert embed().inputs == embed(input="").inputs == embed(input=[]).inputs == ()
    assert embed(name="m", input="a", keep_alive="5m", options={"temperature": 0.3}).model == "m"
    old = parse_embeddings(b'{"model": "m", "prompt": "a", "foo": 1}', "id")
    assert (old.request.inputs, old.unknown_fields) == (("a",), ("foo",))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "Hi", "images": ["aGk="]}]}, "messages[0].images"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"format": "xml"}, "format"),
        ({"format": 7}, "format"),
        ({"think": "hard"}, "think"),
        ({"think": 7}, "think"),
        ({"stream": "yes"}, "stream"),
        ({"shift": True}, "shift"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"options": []}, "options"),
        ({"options": {"temperature": 3}}, "temperature"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"num_ctx": 0}}, "options.num_ctx"),
        ({"options": {"mirostat": 1}}, "options.mirostat"),
        ({"options": {"tfs_z": 0.5}}, "options.tfs_z"),
        ({"options": {"penalize_newline": False, "mirostat": 2}}, "options.mirostat"),
    ],
)
def test_what_is_refused(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "end", "system": "Be brief."}, "system"),
        ({"raw": True, "template": "{{ x }}"}, "template"),
        ({"images": ["aGk="]}, "images"),
        ({"raw": True, "system": "Be brief."}, "system"),
        ({"raw": True, "context": [1]}, "context"),
        ({"prompt": ["Hi"]}, "prompt"),
        ({"context": ["a"]}, "context[0]"),
        ({"width": 512}, "width"),
    ],
)
def test_what_generate_refuses(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        generate(**fields)
    assert caught.value.param == param
    if param in REFUSED:
        assert isinstance(caught.value, UnsupportedParameterError)


def test_what_asks_for_nothing() -> None:
    call = generate(suffix="", template=None, shift=False, options={"mirostat": 0, "tfs_z": 1.0})
    assert call.unknown_fields == ()


def test_spellings() -> None:
    assert spellings("a") == ("a", "a:latest")
    assert spellings("a:latest") == ("a:latest", "a")


def test_times() -> None:
    assert timestamp(1703169631_635304023) == "2023-12-21T14:40:31.635304023Z"


def test_the_page_names_every_field() -> None:
    """In its two tables: what the parsers read, and what they know."""
    page = (Path(__file__).parents[2] / "docs" / "ollama.md").read_text()

    def named(start: str, end: str) -> set[str]:
        table = page[page.index(start) : page.index(end)]
        rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        return {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row)}

    bodies = (chat_schema(), generate_schema(), embed_schema(), embeddings_schema())
    fields = {name for schema in bodies for name in schema["properties"]}
    assert named("## Fields", "## Options") == fields | set(REFUSED)
    assert named("## Options", "## Answers") == {*options_schema()["properties"], *WITHOUT_EFFECT, *REFUSED_OPTIONS}
