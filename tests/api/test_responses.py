"""POST /v1/responses: items and events by the published shapes, conversations, tools, thinking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.calls import call
from fixtures.responses_served import serve_responses

THOUGHT = "<think>Hm, so.</think>Hello there"
F: Any = {
    "type": "function",
    "name": "f",
    "description": "It does.",
    "parameters": {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "additionalProperties": False,
    },
    "strict": True,
}
G: Any = {"type": "function", "name": "g"}


def text_of(response: dict[str, Any]) -> str:
    messages = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in messages for part in item["content"])


async def test_an_answer(tmp_path: Path) -> None:
    response = await serve_responses(tmp_path, "Hello").create(
        instructions="Be brief.",
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        metadata={"a": "b"},
        user="me",
        safety_identifier="s",
        prompt_cache_key="k",
        max_tool_calls=3,
        truncation="disabled",
        reasoning={"effort": "low"},
        parallel_tool_calls=False,
    )
    [message] = response["output"]
    assert message["content"] == [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]
    echoed = {"instructions": "Be brief.", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9, "user": "me"}
    echoed |= {"metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k", "max_tool_calls": 3}
    echoed |= {"truncation": "disabled", "reasoning": {"effort": "low", "summary": None}, "parallel_tool_calls": False}
    assert {key: response[key] for key in echoed} == echoed
    assert (response["model"], response["status"], response["store"]) == ("m", "completed", True)
    assert response["usage"]["output_tokens"] == len("Hello") + 1


async def test_the_stream_says_the_same(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "So: " + call("f", x=1) + "\n" + call("g"))
    whole = await served.create(tools=[F, G])
    told = await served.stream(tools=[F, G])
    streamed = told[-1]["response"]
    assert [item["type"] for item in streamed["output"]] == ["message", "function_call", "function_call"]
    for ours, theirs in zip(whole["output"], streamed["output"], strict=True):
        variable = ("id", "call_id")
        assert {k: v for k, v in ours.items() if k not in variable} == {
            k: v for k, v in theirs.items() if k not in variable
        }
    assert whole["usage"] == streamed["usage"]
    assert [item["arguments"] for item in whole["output"][1:]] == ['{"x": 1}', "{}"]
    begun = told[0]["response"]
    assert (begun["status"], begun["output"], "usage" in begun) == ("in_progress", [], False)


@pytest.mark.parametrize("step", [1, 3, 50])
async def test_thinking(tmp_path: Path, step: int) -> None:
    served = serve_responses(tmp_path, THOUGHT, step=step)
    told = await served.stream(include=["message.output_text.logprobs"], top_logprobs=1)
    response = told[-1]["response"]
    reasoning, message = response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Hm, so."}]
    assert message["content"][0]["text"] == "Hello there"
    # The marks are one token each, letters are bytes.
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == len("Hm, so.") + 2
    assert [token["token"] for token in message["content"][0]["logprobs"]] == list("Hello there")
    whole = await served.create()
    assert whole["output"][0]["content"] == reasoning["content"]
    assert whole["output"][1]["content"][0]["logprobs"] == []


async def test_an_answer_without_thinking_has_none_counted(tmp_path: Path) -> None:
    usage = (await serve_responses(tmp_path, "<thin air").create())["usage"]
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}


async def test_an_answer_that_was_cut(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    told = await served.stream(max_output_tokens=12)
    assert told[-1]["type"] == "response.incomplete"
    response = told[-1]["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert response["usage"]["output_tokens"] == 12
    in_thought = await served.create(max_output_tokens=3)
    assert [(item["type"], item["status"]) for item in in_thought["output"]] == [("reasoning", "incomplete")]
    assert in_thought["usage"]["output_tokens_details"]["reasoning_tokens"] == 3


async def test_an_answer_of_nothing(tmp_path: Path) -> None:
    told = await serve_responses(tmp_path, "").stream()
    assert text_of(told[-1]["response"]) == ""
    assert len(told[-1]["response"]["output"]) == 1


# --- conversations --------------------------------------------------------------------------------


async def test_it_goes_on_from_another(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT, "Fine.", "Bye.")
    first = await served.create("Hi", instructions="Be brief.")
    second = await served.create("How?", previous_response_id=first["id"], instructions="Be loud.")
    # Instructions aren't inherited, all else is.
    turn = "user: Hi\nassistant: <think>Hm, so.</think>Hello there\n"
    assert served.prompt() == f"system: Be loud.\n{turn}user: How?\nmodel: "
    assert second["previous_response_id"] == first["id"]
    third = await served.stream("Well", previous_response_id=second["id"])
    assert served.prompt() == f"{turn}user: How?\nassistant: Fine.\nuser: Well\nmodel: "
    assert third[-1]["response"]["previous_response_id"] == second["id"]


async def test_the_same_without_a_store() -> None:
    served = serve_responses(None, THOUGHT, "Fine.")
    first = await served.create("Hi")
    assert first["store"] is False
    history = [{"role": "user", "content": "Hi"}, *first["output"], {"role": "user", "content": "How?"}]
    await served.create(history)
    assert served.prompt() == "user: Hi\nassistant: <think>Hm, so.</think>Hello there\nuser: How?\nmodel: "


async def test_items_in_all_their_forms(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "Yes")
    response = await served.create(
        [
            {"role": "developer", "content": "D"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "U"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "T"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "A"}], "phase": "commentary"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": 1}'},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "R"}]},
            {"role": "user", "content": ["V", {"type": "input_text", "text": "W"}]},
        ],
        tools=[F],
    )
    calls = '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call><tool_call>{"name": "g", "arguments": {}}'
    prompt = served.prompt().partition("\n")[2]
    assert prompt == (
        f"developer: D\nuser: U\nassistant: <think>T</think>A{calls}</tool_call>\ntool: one (c1)\ntool: two (c2)\n"
        "assistant: R\nuser: V\nW\nmodel: "
    )
    listed = await served.items(response["id"], order="asc")
    assert [item["type"] for item in listed["data"]] == (
        ["message"] * 2
        + ["reasoning", "message"]
        + ["function_call"] * 2
        + ["function_call_output"] * 2
        + ["message"] * 2
    )
    assert listed["data"][3]["phase"] == "commentary"


async def test_references_to_items(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "Hello", "Fine.", "Good.")
    first = await served.create("Hi")
    [question] = (await served.items(first["id"]))["data"]
    references = [{"type": "item_reference", "id": question["id"]}, {"id": first["output"][0]["id"]}]
    second = await served.create([*references, {"role": "user", "content": "How?"}])
    assert served.prompt() == "user: Hi\nassistant: Hello\nuser: How?\nmodel: "
    await served.http.delete(f"/responses/{first['id']}")
    await served.create("And?", previous_response_id=second["id"])  # what it referred to is kept with it
    assert served.prompt().startswith("user: Hi\nassistant: Hello\nuser: How?\n")
    error = await served.error([{"type": "item_reference", "id": "msg_nowhere"}], status=404)
    assert (error["param"], error["code"]) == ("input[0]", "item_not_found")


async def test_sealed_thinking_comes_back(tmp_path: Path) -> None:
    served = serve_responses(None, THOUGHT, "Fine.")
    first = await served.create(store=False, include=["reasoning.encrypted_content"])
    reasoning, message = first["output"]
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": reasoning["encrypted_content"]}
    await served.create([{"role": "user", "content": "Hi"}, sealed, message, {"role": "user", "content": "How?"}])
    assert "<think>Hm, so.</think>Hello there" in served.prompt()
    error = await served.error([{"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABo"}])
    assert (error["param"], error["code"]) == ("input[0].encrypted_content", "unsupported_parameter")


# --- tools ----------------------------------------------------------------------------------------


async def test_a_loop_of_calls(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, call("f", x=1), "It is one.")
    first = await served.create("How much?", tools=[F])
    [made] = first["output"]
    assert first["tools"] == [F]
    output = {"type": "function_call_output", "call_id": made["call_id"], "output": "1"}
    second = await served.create([output], previous_response_id=first["id"], tools=[F])
    assert text_of(second) == "It is one."
    assert served.prompt().endswith(
        'user: How much?\nassistant: <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>\n'
        f"tool: 1 ({made['call_id']})\nmodel: "
    )


@pytest.mark.parametrize(
    ("choice", "allowed"),
    [
        ("required", {"f", "g"}),
        ({"type": "function", "name": "f"}, {"f"}),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}, {"g"}),
    ],
)
async def test_choices(tmp_path: Path, choice: Any, allowed: set[str]) -> None:
    served = serve_responses(tmp_path, *(call(name, **arguments) for name, arguments in (("f", {"x": 1}), ("g", {}))))
    for name in ("f", "g"):
        if name in allowed:
            response = await served.create(tools=[F, G], tool_choice=choice)
            assert (response["output"][0]["name"], response["tool_choice"]) == (name, choice)
        else:
            await served.error(tools=[F, G], tool_choice=choice, status=500)  # the guide forbids it


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "f"}}]}},
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
async def test_choices_as_chats_have_them(tmp_path: Path, given: Any, told: Any) -> None:
    response = await serve_responses(tmp_path, call("f", x=1)).create(tools=[F, G], tool_choice=given)
    assert response["tool_choice"] == told


async def test_no_choice(tmp_path: Path) -> None:
    response = await serve_responses(tmp_path, call("f", x=1)).create(tools=[F], tool_choice="none")
    assert response["output"][0]["type"] == "message"


async def test_custom_tools(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, call("c", input='say "hi"\n'), "Done.", call("c", input="ab"))
    told = await served.stream(tools=[{"type": "custom", "name": "c", "description": "Runs code."}])
    [made] = told[-1]["response"]["output"]
    assert (made["type"], made["input"]) == ("custom_tool_call", 'say "hi"\n')
    output = {"type": "custom_tool_call_output", "call_id": made["call_id"], "output": "hi"}
    await served.create([output], previous_response_id=told[-1]["response"]["id"])
    assert f"tool: hi ({made['call_id']})" in served.prompt()
    sent = {key: value for key, value in made.items() if key not in ("id", "status")}
    response = await served.create([sent, output])
    listed = (await served.http.get(f"/responses/{response['id']}/input_items")).json()["data"]
    assert sorted((item["type"], item["status"]) for item in listed) == [
        ("custom_tool_call", "completed"),
        ("custom_tool_call_output", "completed"),
    ]
    pattern = {"type": "grammar", "syntax": "regex", "definition": "a+|b"}
    await served.error(tools=[{"type": "custom", "name": "c", "format": pattern}], tool_choice="required", status=500)
    served.engine.texts = [call("c", input="aa")]
    response = await served.create(tools=[{"type": "custom", "name": "c", "format": pattern}], tool_choice="required")
    assert response["output"][0]["input"] == "aa"


async def test_a_format(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    served = serve_responses(tmp_path, '{"x": 2}', "free")
    response = await served.create(text=text)
    assert json.loads(text_of(response)) == {"x": 2}
    assert response["text"]["format"] == text["format"]
    await served.error(text=text, status=500)  # the guide forbids it
    await served.error(text={"format": {"type": "json_object"}}, status=500)
    assert (await served.create(text={"format": {"type": "text"}}))["text"]["format"] == {"type": "text"}


# --- warnings -------------------------------------------------------------------------------------


async def test_warnings(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "Hello")
    answer = await served.http.post("/responses", json={"input": "Hi", "reasoning": {"summary": "auto"}, "foo": 1})
    warnings = answer.json()["warnings"]
    assert any("reasoning.summary" in text for text in warnings)
    assert any("foo" in text for text in warnings)
    assert "foo" in answer.headers["x-inglenook-warnings"]
    told = await served.stream(foo=1)
    assert any("foo" in text for text in told[-1]["response"]["warnings"])


async def test_truncation_leaves_out_the_oldest_turns(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "Hello")
    long = "x" * 40_000
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": f"1{long}"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"role": "user", "content": f"2{long}"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": f"3{long}"},
    ]
    error = await served.error(turns)
    assert error["code"] == "context_length_exceeded"
    response = await served.create(turns, truncation="auto")
    assert served.prompt() == f"system: S\nuser: 2{long}\nassistant: two\nuser: 3{long}\nmodel: "
    assert "oldest 3 items" in response["warnings"][0]
    few = await served.create(turns[:1] + turns[4:], truncation="auto")
    assert "warnings" not in few
