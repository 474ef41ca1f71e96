"""What clients count on in the corners of OpenAI's routes, with the default model in a process of its own.

Every answer's shape, and what holds between the chunks of a stream, is checked by the server's wrapper
(fixtures/shape_check.py); what is written here is what it means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from fixtures.server_process import Server

USER = {"role": "user", "content": "Why is the sky blue?"}
SMALL_CONTEXT = 256


class Api:
    def __init__(self, server: Server, **headers: str) -> None:
        self._http = httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=120)

    def send(self, path: str, body: Any = None, method: str = "POST", **options: Any) -> httpx.Response:
        return self._http.request(method, path, json=body, **options)

    def ask(self, path: str, **body: Any) -> Any:
        answer = self.send(path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def chat(self, *messages: Any, **fields: Any) -> Any:
        defaults = {"messages": list(messages) or [USER], "temperature": 0, "max_tokens": 12}
        return self.ask("/chat/completions", **{**defaults, **fields})

    def complete(self, prompt: Any = "One, two, three,", **fields: Any) -> Any:
        return self.ask("/completions", **{"prompt": prompt, "temperature": 0, "max_tokens": 8, **fields})

    def events(self, path: str, **body: Any) -> list[Any]:
        answer = self.send(path, {"stream": True, "temperature": 0, "max_tokens": 12, **body})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/event-stream"
        *events, done, rest = answer.text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]

    def tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.ask("/tokenize", prompt=text, add_special_tokens=False)["tokens"]
        return tokens


@pytest.fixture(scope="module")
def api(server: Server) -> Api:
    return Api(server)


@pytest.fixture(scope="module")
def small(default_model: str) -> Iterator[Api]:
    from fixtures.server_process import start_server

    running = start_server(default_model, "--max-model-len", str(SMALL_CONTEXT), "--api-key", "secret")
    yield Api(running, authorization="Bearer secret")
    assert running.stop() == 0


def text_of(answer: Any) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


# --- chat -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_is_hit_exactly(api: Api, name: str) -> None:
    answer = api.ask("/chat/completions", messages=[USER], temperature=0, ignore_eos=True, **{name: 7})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 7


def test_content_in_parts_or_null(api: Api) -> None:
    parts = [{"type": "text", "text": "Why is the"}, {"type": "text", "text": "sky blue?"}]
    shown = api.ask("/chat/completions/render", messages=[{"role": "user", "content": parts}])["prompt"]
    assert "Why is the\nsky blue?" in shown
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    api.chat(USER, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "x"})


def test_the_last_message_is_carried_on(api: Api) -> None:
    said = {"role": "assistant", "content": "The sky is blue because"}
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    alone = text_of(api.chat(USER, said, **fields))
    assert not alone.startswith(said["content"])
    assert text_of(api.chat(USER, said, echo=True, **fields)) == said["content"] + alone


def test_unknown_roles_and_fields(api: Api) -> None:
    messages = [{"role": "observer", "content": "It is noon."}, USER]
    first, second = (
        (api.send("/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 5, "odd": 1})),
        api.chat(*messages, max_tokens=5),
    )
    assert first.status_code == 200
    assert "odd" in first.headers["x-inglenook-warnings"]
    assert text_of(first.json()) == text_of(second)


def test_names_of_an_answer(api: Api) -> None:
    for path, prefix, body in (
        ("/chat/completions", "chatcmpl-", {"messages": [USER]}),
        ("/completions", "cmpl-", {"prompt": "x"}),
    ):
        answer = api.ask(path, max_tokens=2, model="smollm2:135m", **body)
        assert answer["id"].startswith(prefix)
        assert answer["model"] == "smollm2:135m"
        assert answer["system_fingerprint"]
        assert len({event["id"] for event in api.events(path, max_tokens=2, **body)}) == 1


def test_several_choices(api: Api) -> None:
    fields = {"n": 3, "temperature": 1.2, "seed": 4, "logprobs": True}
    answer = api.chat(**fields)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) == 3
    one = api.chat(n=1, max_tokens=12)["usage"]["prompt_tokens"]
    assert answer["usage"]["prompt_tokens"] == one
    assert [choice["message"]["content"] for choice in api.chat(**fields)["choices"]] == texts
    streamed = ["", "", ""]
    for event in api.events("/chat/completions", messages=[USER], **fields):
        for choice in event["choices"]:
            streamed[choice["index"]] += choice["delta"].get("content", "")
    assert streamed == texts


def test_a_prompt_asked_twice_is_cached(api: Api) -> None:
    message = {"role": "user", "content": "Of lighthouses and their keepers. " * 30}
    first, second = api.chat(message), api.chat(message)
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == second["usage"]["prompt_tokens"] - 1 > 100
    assert text_of(first) == text_of(second)


def test_bans_and_forced_tokens(api: Api) -> None:
    [token] = api.tokens(" yes")
    forced = api.complete(logit_bias={str(token): 100}, max_tokens=3)["choices"][0]["text"]
    assert forced == " yes yes yes"
    plain = api.complete(max_tokens=1, return_token_ids=True)["choices"][0]["token_ids"][0]
    banned = api.complete(max_tokens=1, return_token_ids=True, logit_bias={str(plain): -100})
    assert banned["choices"][0]["token_ids"][0] != plain


# --- completions ----------------------------------------------------------------------------------


def test_prompts_in_every_form(api: Api) -> None:
    ids = api.tokens("One, two, three,")
    text = api.complete("One, two, three,")
    as_ids = api.complete(ids)
    assert as_ids["choices"][0]["text"] == text["choices"][0]["text"]
    assert as_ids["usage"]["prompt_tokens"] == text["usage"]["prompt_tokens"] == len(ids)
    mixed = api.complete(["One, two, three,", ids])
    assert [choice["text"] for choice in mixed["choices"]] == [text["choices"][0]["text"]] * 2
    assert mixed["usage"]["prompt_tokens"] == 2 * len(ids)


def test_choices_come_prompt_by_prompt(api: Api) -> None:
    prompts = ["The capital of France is", "One, two, three,"]
    alone = [api.complete(prompt, max_tokens=4)["choices"][0]["text"] for prompt in prompts]
    both = api.complete(prompts, n=2, max_tokens=4)
    assert [choice["text"] for choice in both["choices"]] == [alone[0], alone[0], alone[1], alone[1]]
    streamed = [""] * 4
    for event in api.events("/completions", prompt=prompts, n=2, max_tokens=4):
        for choice in event["choices"]:
            streamed[choice["index"]] += choice["text"]
    assert streamed == [choice["text"] for choice in both["choices"]]


def test_an_echo_of_the_prompt_alone(api: Api) -> None:
    answer = api.complete("One, two", echo=True, max_tokens=0)
    assert answer["choices"][0]["text"] == "One, two"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0


def test_logprobs_of_completions(api: Api) -> None:
    chosen = api.complete(logprobs=0)["choices"][0]
    assert [len(top) for top in chosen["logprobs"]["top_logprobs"]] == [1] * 8
    assert "".join(chosen["logprobs"]["tokens"]) == chosen["text"]
    offsets, position = [], 0
    for token in chosen["logprobs"]["tokens"]:
        offsets.append(position)
        position += len(token)
    assert chosen["logprobs"]["text_offset"] == offsets
    hot = api.complete(logprobs=2, temperature=2.0, seed=1)["choices"][0]["logprobs"]
    assert {len(top) for top in hot["top_logprobs"]} <= {2, 3}
    assert all(token in top for token, top in zip(hot["tokens"], hot["top_logprobs"], strict=True))


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [None, "e", ["blue", " sc"]])
def test_a_stream_says_what_the_whole_answer_says(api: Api, stop: Any) -> None:
    fields = {"messages": [USER], "max_tokens": 24, "stop": stop}
    whole = api.chat(**fields)["choices"][0]
    events = api.events("/chat/completions", **fields)
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == whole["message"]["content"]
    assert [event["choices"][0]["finish_reason"] for event in events][-1] == whole["finish_reason"]
    assert all(event["choices"][0]["finish_reason"] is None for event in events[:-1])


def test_usage_of_a_stream(api: Api) -> None:
    body = {"messages": [USER]}
    assert not any("usage" in event for event in api.events("/chat/completions", **body))
    events = api.events("/chat/completions", **body, stream_options={"include_usage": True})
    assert [event["usage"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1]["usage"]["completion_tokens"] == 12
    every = api.events("/chat/completions", **body, stream_options={"continuous_usage_stats": True})
    counts = [event["usage"]["completion_tokens"] for event in every]
    assert counts[0] == 0
    assert counts[1:-1] == sorted(set(counts[1:-1]))
    assert counts[-2] == counts[-1] == 12


def test_characters_of_several_tokens_stay_whole(api: Api) -> None:
    said = "I like 🔥, 日本語 and naïve café."
    pattern = said.replace(".", r"\.")
    fields = {"messages": [USER], "structured_outputs": {"regex": pattern}, "max_tokens": 80}
    events = api.events("/chat/completions", **fields, logprobs=True)
    pieces = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(pieces) == said
    assert not any("\ufffd" in piece for piece in pieces)
    entries = [
        entry
        for event in events
        if event["choices"][0].get("logprobs")
        for entry in event["choices"][0]["logprobs"]["content"]
    ]
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode() == said


# --- log-probabilities ----------------------------------------------------------------------------


def test_logprobs_of_chats(api: Api) -> None:
    def entries(**fields: Any) -> list[Any]:
        choice = api.chat(logprobs=True, **fields)["choices"][0]
        assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == choice["message"]["content"]
        found: list[Any] = choice["logprobs"]["content"]
        return found

    assert {len(entry["top_logprobs"]) for entry in entries(top_logprobs=0)} == {0}
    assert {len(entry["top_logprobs"]) for entry in entries(top_logprobs=20)} == {20}
    assert api.chat(logprobs=False)["choices"][0]["logprobs"] is None
    held = api.chat(logprobs=True, top_logprobs=5, structured_outputs={"choice": ["zyzzyva", "qoph"]})["choices"][0]
    assert all(-9999 <= top["logprob"] <= 0 for e in held["logprobs"]["content"] for top in e["top_logprobs"])


def test_streamed_logprobs_are_those_of_the_whole_answer(api: Api) -> None:
    fields = {"messages": [USER], "logprobs": True, "top_logprobs": 2, "stop": ["light"], "max_tokens": 30}
    whole = api.chat(**fields)["choices"][0]["logprobs"]["content"]
    streamed = [
        entry
        for event in api.events("/chat/completions", **fields)
        if event["choices"][0].get("logprobs")
        for entry in event["choices"][0]["logprobs"]["content"]
    ]
    assert streamed == whole


# --- ends -----------------------------------------------------------------------------------------


def test_stop_strings(api: Api) -> None:
    free = api.complete(max_tokens=16)["choices"][0]["text"]
    stop = free[5:8]
    answer = api.complete(max_tokens=16, stop=stop)["choices"][0]
    assert answer["text"] == free[: free.index(stop)]
    assert (answer["finish_reason"], answer["stop_reason"]) == ("stop", stop)
    kept = api.complete(max_tokens=16, stop=[stop], include_stop_str_in_output=True)["choices"][0]["text"]
    assert kept == free[: free.index(stop) + len(stop)]
    assert api.complete(stop="One, two")["choices"][0]["text"] == api.complete()["choices"][0]["text"]


def test_stop_tokens(api: Api) -> None:
    ids = api.complete(max_tokens=6, return_token_ids=True)["choices"][0]["token_ids"]
    stop = ids[4]
    answer = api.complete(max_tokens=6, stop_token_ids=[stop], return_token_ids=True)["choices"][0]
    assert answer["token_ids"] == ids[: ids.index(stop) + 1]
    assert (answer["finish_reason"], answer["stop_reason"]) == ("stop", stop)
    ended = api.chat(max_tokens=400, stop_token_ids=[0])
    if ended["choices"][0]["finish_reason"] == "stop":
        assert ended["choices"][0]["stop_reason"] in (None, 0), "the model's own end still counts"
    assert api.chat(max_tokens=300, ignore_eos=True)["choices"][0]["finish_reason"] == "length"


# --- what is refused ------------------------------------------------------------------------------

CHAT, OLDER = "/chat/completions", "/completions"
REFUSED: list[tuple[str, dict[str, Any], str | None]] = [
    (CHAT, {"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
    (CHAT, {"n": 129}, "n"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"seed": 2**63}, "seed"),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type"),
    (CHAT, {"logit_bias": {"49152": 1}}, "logit_bias"),
    (CHAT, {"logit_bias": {"-1": 1}}, "logit_bias"),
    (CHAT, {"temperature": -0.1}, "temperature"),
    (CHAT, {"temperature": 2.1}, "temperature"),
    (CHAT, {"top_p": 0}, "top_p"),
    (CHAT, {"top_p": 1.1}, "top_p"),
    (CHAT, {"presence_penalty": 2.1}, "presence_penalty"),
    (CHAT, {"frequency_penalty": -2.1}, "frequency_penalty"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_completion_tokens": 0}, "max_completion_tokens"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"stream": True, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"top_logprobs": 2}, "top_logprobs"),
    (CHAT, {"stop": ""}, "stop"),
    (CHAT, {"stream_options": {"include_usage": None}}, "stream_options"),
    (CHAT, {"messages": None}, "messages"),
    (CHAT, {"messages": "Hi"}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": ["Hi"]}, "messages[0]"),
    (CHAT, {"messages": [{"content": "Hi"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": 1, "content": "Hi"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, None),
    (CHAT, {"chat_template": "{{ messages }}"}, "chat_template"),
    (CHAT, {"truncate_prompt_tokens": 10**6}, "truncate_prompt_tokens"),
    (CHAT, {"prompt_logprobs": -1}, "prompt_logprobs"),
    (CHAT, {"stream": True, "prompt_logprobs": 1}, "prompt_logprobs"),
    (OLDER, {"prompt": []}, "prompt"),
    (OLDER, {"prompt": ""}, "prompt"),
    (OLDER, {"prompt": [[]]}, "prompt"),
    (OLDER, {"prompt": None}, "prompt"),
    (OLDER, {"prompt": [49152]}, "prompt"),
    (OLDER, {"prompt": [-1]}, "prompt[0]"),
    (OLDER, {"suffix": "end"}, "suffix"),
    (OLDER, {"logprobs": 21}, "logprobs"),
    (OLDER, {"max_tokens": -1}, "max_tokens"),
]


@pytest.mark.parametrize(("path", "fields", "param"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_refused(api: Api, path: str, fields: dict[str, Any], param: str | None) -> None:
    body: dict[str, Any] = {"messages": [USER]} if path == CHAT else {"prompt": "x"}
    answer = api.send(
        path, {**body, "max_tokens": 1, **fields} if "max_completion_tokens" not in fields else {**body, **fields}
    )
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert param is None or error["param"] == param
    assert len(error["message"]) > 10


def test_the_server_lives_on(api: Api) -> None:
    assert api.chat()["choices"]


def test_accepted(api: Api) -> None:
    for fields in (
        {"seed": -5},
        {"response_format": {"type": "text"}},
        {"top_logprobs": 0},
        {"stop": None},
        {"n": None},
    ):
        api.chat(**fields, max_tokens=1)


# --- errors ---------------------------------------------------------------------------------------


def test_bodies_that_are_no_requests(api: Api) -> None:
    for content in (b"{", b"", b"[]", b'"x"', b"\xff", b"null"):
        answer = api.send(CHAT, content=content)
        assert answer.status_code == 400, content
        assert answer.json()["error"]["code"] == "invalid_json"


def test_messages_do_not_repeat_the_input(api: Api) -> None:
    long = "x" * 100_000
    for fields in (
        {"model": long},
        {"response_format": {"type": long}},
        {"messages": [{"role": "user", "content": [{"type": long}]}]},
    ):
        answer = api.send(CHAT, {"messages": [USER], **fields})
        assert 400 <= answer.status_code < 500
        assert len(answer.text) < 3000
        assert "Traceback" not in answer.text
        assert "/src/" not in answer.text


def test_models_and_paths(api: Api) -> None:
    answer = api.send(CHAT, {"model": "gpt-none", "messages": [USER]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert api.send("/models/smollm2:135m", method="GET").json()["id"] == "smollm2:135m"
    assert api.send("/models/org%2Fnone", method="GET").status_code == 404
    assert api.send("/nowhere", {}).status_code == 404
    assert api.send("/nowhere", {}).json()["error"]["code"] == "not_found"


def test_keys(small: Api) -> None:
    for headers in ({"authorization": "Bearer wrong"}, {"authorization": ""}):
        answer = small.send(CHAT, {"messages": [USER]}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"
    assert small.send("/models", method="GET", headers={"authorization": "", "x-api-key": "secret"}).status_code == 200
    assert small.send("/health", method="GET", headers={"authorization": ""}).status_code == 200
    assert small.send(CHAT, method="OPTIONS", headers={"authorization": ""}).status_code < 300


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long(small: Api, stream: bool) -> None:
    answer = small.send(OLDER, {"prompt": "word " * 300, "stream": stream})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert str(SMALL_CONTEXT) in error["message"]
    assert "301" in error["message"] or "300" in error["message"]


def test_a_limit_beyond_the_context_is_capped_and_said(small: Api) -> None:
    answer = small.send(CHAT, {"messages": [USER], "max_tokens": 4096, "ignore_eos": True, "temperature": 0})
    body = answer.json()
    assert body["usage"]["total_tokens"] == SMALL_CONTEXT
    assert body["choices"][0]["finish_reason"] == "length"
    assert "capped" in body["warnings"][0]
    open_end = small.chat(max_tokens=None, ignore_eos=True)
    assert open_end["usage"]["total_tokens"] == SMALL_CONTEXT
    assert text_of(open_end) == text_of(body)


def test_a_long_prompt_is_cut_on_request(small: Api) -> None:
    text = " ".join(str(number) for number in range(200))
    answer = small.complete(text, truncate_prompt_tokens=-1, max_tokens=16, return_prompt_text=True)
    assert answer["usage"]["prompt_tokens"] == SMALL_CONTEXT - 16
    assert text.endswith(answer["choices"][0]["prompt_text"])
    assert "cut off at its beginning" in answer["warnings"][0]


def test_large_limits_reserve_no_memory(small: Api) -> None:
    def ask(number: int) -> int:
        answer = small.chat({"role": "user", "content": f"Number {number}."}, max_tokens=10**9, stop=[" ", "\n", "."])
        tokens: int = answer["usage"]["completion_tokens"]
        return tokens

    with ThreadPoolExecutor(24) as pool:
        assert all(count < SMALL_CONTEXT for count in pool.map(ask, range(24)))


def test_same_prompt_as_text_and_as_counted(api: Api) -> None:
    count: Callable[..., Any] = api.ask
    counted = count("/tokenize", messages=[USER])["count"]
    assert count("/chat/completions/input_tokens", messages=[USER])["input_tokens"] == counted
    assert api.chat(max_tokens=1)["usage"]["prompt_tokens"] == counted
