"""The exact bytes of answers and streams, but for ids and times."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx

from inglenook.errors import EngineError
from inglenook.types import Delta, TokenLogprob, ToolCallDelta, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def masked(text: str) -> str:
    text = re.sub(r'"(chatcmpl|cmpl)-[0-9a-f]{24}"', r'"\1-ID"', text)
    return re.sub(r'"created":\d+', '"created":0', text)


def chat_event(choices: str, usage: str = "") -> str:
    return (
        'data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":0,"model":"tiny",'
        f'"system_fingerprint":"inglenook-1.2.3","choices":[{choices}]{usage}}}\n\n'
    )


def completion_event(choices: str, usage: str = "") -> str:
    return (
        'data: {"id":"cmpl-ID","object":"text_completion","created":0,"model":"tiny",'
        f'"system_fingerprint":"inglenook-1.2.3","choices":[{choices}]{usage}}}\n\n'
    )


USAGE = (
    ',"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}'
)
ROLE = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
HELLO = '{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}'
THERE = '{"index":0,"delta":{"content":" there"},"logprobs":null,"finish_reason":null}'
END = '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":null}'
DONE = "data: [DONE]\n\n"


async def test_chat(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=CHAT)
    assert answer.headers["content-type"] == "application/json"
    assert masked(answer.text) == (
        '{"id":"chatcmpl-ID","object":"chat.completion","created":0,"model":"tiny",'
        '"system_fingerprint":"inglenook-1.2.3","choices":[{"index":0,"message":'
        '{"role":"assistant","content":"Hello there","refusal":null},"logprobs":null,"finish_reason":"stop",'
        '"stop_reason":null}]' + USAGE + "}"
    )


async def test_chat_stream(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=CHAT | {"stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert masked(answer.text) == "".join(map(chat_event, [ROLE, HELLO, THERE, END])) + DONE


async def test_chat_stream_with_usage(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/v1/chat/completions", json=CHAT | {"stream": True, "stream_options": {"include_usage": True}}
    )
    chunks = [chat_event(choice, ',"usage":null') for choice in (ROLE, HELLO, THERE, END)]
    assert masked(answer.text) == "".join(chunks) + chat_event("", USAGE) + DONE


async def test_chat_stream_of_two_choices(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (
        Delta(1, "b", (1,)),
        Delta(0, "a", (2,)),
        Delta(1, "", (3,), finish_reason="length"),
        Delta(0, "A", (4,), finish_reason="stop", stop_reason="end", usage=Usage(1, 4)),
    )
    answer = await http.post("/v1/chat/completions", json=CHAT | {"stream": True, "n": 2})
    assert masked(answer.text) == (
        chat_event(ROLE.replace('"index":0', '"index":1'))
        + chat_event(HELLO.replace("Hello", "b").replace('"index":0', '"index":1'))
        + chat_event(ROLE)
        + chat_event(HELLO.replace("Hello", "a"))
        + chat_event(END.replace("stop", "length", 1).replace('"index":0', '"index":1'))
        + chat_event(HELLO.replace("Hello", "A"))
        + chat_event(END.replace('"stop_reason":null', '"stop_reason":"end"'))
        + DONE
    )


async def test_chat_stream_with_logprobs(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    token = TokenLogprob(1, "�", b"\xe2\x82", -0.25, (TokenLogprob(2, "b", b"b", -1.5),))
    backend.script = (Delta(0, "", (1,), (token,)), Delta(0, "", (), finish_reason="length", usage=Usage(1, 1)))
    answer = await http.post("/v1/chat/completions", json=CHAT | {"stream": True, "logprobs": True, "top_logprobs": 1})
    content = (
        '{"index":0,"delta":{"content":""},"logprobs":{"content":[{"token":"�","logprob":-0.25,"bytes":[226,130],'
        '"top_logprobs":[{"token":"b","logprob":-1.5,"bytes":[98]}]}],"refusal":null},"finish_reason":null}'
    )
    assert masked(answer.text) == "".join(map(chat_event, [ROLE, content, END.replace("stop", "length", 1)])) + DONE


# --- tool calls, thinking, warnings ---------------------------------------------------------------

TOOLS = [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]
CALLS = (
    Delta(0, "", (1,), reasoning="Hm"),
    Delta(0, "So:", (2,), reasoning="."),
    Delta(0, "", (3,), tool_calls=(ToolCallDelta(0, "call_1", "f"),)),
    Delta(0, "", (4,), tool_calls=(ToolCallDelta(0, arguments='{"x"'),)),
    Delta(0, "", (5,), tool_calls=(ToolCallDelta(0, arguments=": 1}"), ToolCallDelta(1, "call_2", "g", "{}"))),
    Delta(0, "", (6,), finish_reason="tool_calls", usage=Usage(7, 3, 4)),
)


def delta_event(delta: str) -> str:
    return chat_event(f'{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":null}}')


async def test_calls(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = CALLS
    answer = await http.post("/v1/chat/completions", json=CHAT | {"tools": TOOLS})
    assert (
        '"message":{"role":"assistant","content":"So:","refusal":null,"reasoning_content":"Hm.","reasoning":"Hm.",'
        '"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\\"x\\": 1}"}},'
        '{"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]},"logprobs":null,'
        '"finish_reason":"tool_calls","stop_reason":null}'
    ) in answer.text
    backend.script = CALLS[2:]
    answer = await http.post("/v1/chat/completions", json=CHAT | {"tools": TOOLS})
    assert '"content":null,"refusal":null,"tool_calls":[' in answer.text


async def test_calls_in_a_stream(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = CALLS
    answer = await http.post("/v1/chat/completions", json=CHAT | {"tools": TOOLS, "stream": True})
    first = '"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]'
    second = '"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":""}}]'
    assert masked(answer.text) == "".join(
        [
            chat_event(ROLE),
            delta_event('"reasoning_content":"Hm","reasoning":"Hm"'),
            delta_event('"reasoning_content":".","reasoning":"."'),
            delta_event('"content":"So:"'),
            delta_event(first),
            delta_event('"tool_calls":[{"index":0,"function":{"arguments":"{\\"x\\""}}]'),
            delta_event('"tool_calls":[{"index":0,"function":{"arguments":": 1}"}}]'),
            delta_event(second),
            delta_event('"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]'),
            chat_event(END.replace("stop", "tool_calls", 1)),
            DONE,
        ]
    )


async def test_a_named_call_ends_with_stop(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = CALLS[2:]
    choice = {"type": "function", "function": {"name": "f"}}
    answer = await http.post("/v1/chat/completions", json=CHAT | {"tools": TOOLS, "tool_choice": choice})
    assert answer.json()["choices"][0]["finish_reason"] == "stop"


async def test_a_call_cut_off(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (*CALLS[2:4], Delta(0, "", (), finish_reason="length", usage=Usage(7, 3)))
    choice = (await http.post("/v1/chat/completions", json=CHAT | {"tools": TOOLS})).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x"'}


async def test_the_older_form(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (*CALLS[2:4], Delta(0, "", (5,), tool_calls=(ToolCallDelta(0, arguments=": 1}"),)), CALLS[-1])
    asked = CHAT | {"functions": [{"name": "f"}]}
    answer = await http.post("/v1/chat/completions", json=asked)
    assert (
        '"message":{"role":"assistant","content":null,"refusal":null,'
        '"function_call":{"name":"f","arguments":"{\\"x\\": 1}"}},"logprobs":null,"finish_reason":"function_call"'
    ) in answer.text
    stream = await http.post("/v1/chat/completions", json=asked | {"stream": True})
    assert masked(stream.text) == "".join(
        [
            chat_event(ROLE),
            delta_event('"function_call":{"name":"f","arguments":""}'),
            delta_event('"function_call":{"arguments":"{\\"x\\""}'),
            delta_event('"function_call":{"arguments":": 1}"}'),
            chat_event(END.replace("stop", "function_call", 1)),
            DONE,
        ]
    )


async def test_logprobs_of_calls(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    token = TokenLogprob(1, "x", b"x", -0.5)
    calls = (ToolCallDelta(0, "call_1", "f", "{"), ToolCallDelta(0, arguments="}"))
    backend.script = (Delta(0, "", (1, 1), (token, token), tool_calls=calls), CALLS[-1])
    asked = CHAT | {"tools": TOOLS, "logprobs": True}
    answer = await http.post("/v1/chat/completions", json=asked)
    assert len(answer.json()["choices"][0]["logprobs"]["content"]) == 2
    stream = await http.post("/v1/chat/completions", json=asked | {"stream": True})
    chunks = [json.loads(event[6:]) for event in stream.text.split("\n\n") if event.startswith("data: {")]
    logprobs = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [len(entry["content"]) for entry in logprobs if entry] == [2]


async def test_warnings(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "Hi", (1,), warnings=("Roles were joined.",)), Delta(0, "", (), finish_reason="stop"))
    warnings = ["unknown fields ignored: foo", "Roles were joined."]
    answer = await http.post("/v1/chat/completions", json=CHAT | {"foo": 1})
    assert answer.json()["warnings"] == warnings
    assert answer.headers["x-inglenook-warnings"] == "; ".join(warnings)
    stream = await http.post("/v1/chat/completions", json=CHAT | {"foo": 1, "stream": True})
    chunks = [json.loads(event[6:]) for event in stream.text.split("\n\n") if event.startswith("data: {")]
    assert [chunk.get("warnings") for chunk in chunks] == [warnings, None, None]
    assert (await http.post("/v1/completions", json={"prompt": "x", "foo": 1})).json()["warnings"] == warnings


async def test_error_in_a_stream(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "Hello", (1,)), 0.01, EngineError("broken"))
    answer = await http.post("/v1/chat/completions", json=CHAT | {"stream": True})
    error = 'data: {"error":{"message":"broken","type":"internal_error","param":null,"code":"engine_error"}}\n\n'
    assert answer.status_code == 200
    assert masked(answer.text) == chat_event(ROLE) + chat_event(HELLO) + error + DONE


async def test_surprise_in_a_stream(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "Hello", (1,)), 0.01, RuntimeError("secret detail"))
    answer = await http.post("/v1/chat/completions", json=CHAT | {"stream": True}, headers={"x-request-id": "abc"})
    assert "secret" not in answer.text
    assert "request id abc" in answer.text
    assert answer.text.endswith(DONE)


async def test_completion(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    nan = float("nan")
    backend.script = (
        Delta(0, "Oh", (), (TokenLogprob(5, "Oh", b"Oh", nan),)),
        Delta(0, " é", (6,), (TokenLogprob(6, " é", " é".encode(), -1.0, (TokenLogprob(7, "x", b"x", -0.5),)),)),
        Delta(0, "", (), finish_reason="length", usage=Usage(7, 3, 4)),
    )
    answer = await http.post("/v1/completions", json={"prompt": "Oh", "echo": True, "logprobs": 1})
    assert masked(answer.text) == (
        '{"id":"cmpl-ID","object":"text_completion","created":0,"model":"tiny","system_fingerprint":"inglenook-1.2.3",'
        '"choices":[{"index":0,"text":"Oh é","logprobs":{"text_offset":[0,2],"token_logprobs":[null,-1.0],'
        '"tokens":["Oh"," é"],"top_logprobs":[null,{"x":-0.5," é":-1.0}]},"finish_reason":"length",'
        '"stop_reason":null}]' + USAGE + "}"
    )
    stream = await http.post("/v1/completions", json={"prompt": "Oh", "logprobs": 1, "stream": True})
    assert masked(stream.text) == (
        completion_event(
            '{"index":0,"text":"Oh","logprobs":{"text_offset":[0],"token_logprobs":[null],"tokens":["Oh"],'
            '"top_logprobs":[null]},"finish_reason":null}'
        )
        + completion_event(
            '{"index":0,"text":" é","logprobs":{"text_offset":[2],"token_logprobs":[-1.0],"tokens":[" é"],'
            '"top_logprobs":[{"x":-0.5," é":-1.0}]},"finish_reason":null}'
        )
        + completion_event('{"index":0,"text":"","logprobs":null,"finish_reason":"length","stop_reason":null}')
        + DONE
    )


async def test_completion_stream_with_usage(http: httpx.AsyncClient) -> None:
    body = {"prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    answer = await http.post("/v1/completions", json=body)
    none = ',"usage":null'
    assert masked(answer.text) == (
        completion_event('{"index":0,"text":"Hello","logprobs":null,"finish_reason":null}', none)
        + completion_event('{"index":0,"text":" there","logprobs":null,"finish_reason":null}', none)
        + completion_event('{"index":0,"text":"","logprobs":null,"finish_reason":"stop","stop_reason":null}', none)
        + completion_event("", USAGE)
        + DONE
    )


async def test_models(http: httpx.AsyncClient) -> None:
    card = (
        '{"id":"org/model","object":"model","created":1700000000,"owned_by":"inglenook",'
        '"root":"tiny","max_model_len":512,"task":"generate"}'
    )
    assert (await http.get("/v1/models/org/model")).text == card
    assert (await http.get("/v1/models")).text == (
        '{"object":"list","data":[' + card.replace("org/model", "tiny") + "," + card + "]}"
    )
