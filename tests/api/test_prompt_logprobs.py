"""Log-probabilities of prompts and the best of several answers, over HTTP; shapes are checked on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.served import serve
from fixtures.tool_cases.vocabulary import byte_tokenizer

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
TOKENIZER = byte_tokenizer(())


async def test_of_a_chat() -> None:
    served = serve(TOKENIZER, ["Yes."])
    answer = await served.client.chat.completions.create(
        model="m", messages=CHAT["messages"], n=2, extra_body={"prompt_logprobs": 1}
    )
    entries = answer.model_extra["prompt_logprobs"]
    assert len(entries) == answer.usage.prompt_tokens
    assert entries[0] is None
    assert entries[1] == {str(ord("s")): {"logprob": -0.5, "rank": 1, "decoded_token": "s"}}
    plain = await served.client.chat.completions.create(model="m", messages=CHAT["messages"])
    assert "prompt_logprobs" not in plain.model_extra


async def test_of_each_prompt() -> None:
    served = serve(TOKENIZER, ["Yes."])
    answer = await served.client.completions.create(
        model="m", prompt=["ab", "c"], n=2, extra_body={"prompt_logprobs": 0, "return_token_ids": True}
    )
    told = [choice.model_extra["prompt_logprobs"] for choice in answer.choices]
    assert told[0] == told[1] == [None, {str(ord("b")): {"logprob": -0.5, "rank": 1, "decoded_token": "b"}}]
    assert told[2] == told[3] == [None]


@pytest.mark.parametrize("max_tokens", [0, 3])
async def test_an_echo_has_the_prompts_tokens(max_tokens: int) -> None:
    served = serve(TOKENIZER, ["cde"])
    body = {"prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": max_tokens}
    (choice,) = (await served.http.post("/completions", json=body)).json()["choices"]
    assert "prompt_logprobs" not in choice
    text = "ab" + "cde"[:max_tokens]
    assert choice["text"] == text
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == list(text)
    assert logprobs["token_logprobs"] == [None] + [-0.5] * (len(text) - 1)
    assert logprobs["top_logprobs"] == [None] + [{letter: -0.5} for letter in text[1:]]
    assert logprobs["text_offset"] == list(range(len(text)))

    streamed = (await served.http.post("/completions", json={**body, "stream": True})).text
    parts = [json.loads(event[6:])["choices"][0] for event in streamed.split("\n\n") if event.startswith("data: {")]
    assert "".join(part["text"] for part in parts) == text
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [entry for part in parts if part["logprobs"] for entry in part["logprobs"][name]] == logprobs[name]


async def test_more_alternatives_of_the_prompt_than_of_the_answer() -> None:
    served = serve(TOKENIZER, ["c"])
    body = {"prompt": "ab", "echo": True, "logprobs": 0, "prompt_logprobs": 1}
    (choice,) = (await served.http.post("/completions", json=body)).json()["choices"]
    assert served.engine.requests[-1].sampling.prompt_logprobs == 1
    assert choice["logprobs"]["top_logprobs"][1] == {"b": -0.5}
    assert len(choice["prompt_logprobs"]) == 2


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", {**CHAT, "prompt_logprobs": -1}, "prompt_logprobs"),
        ("/completions", {"prompt": "x", "prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ("/completions", {"prompt": "x", "best_of": 2, "n": 3}, "best_of"),
        ("/completions", {"prompt": "x", "best_of": 129}, "best_of"),
        ("/completions", {"prompt": "x", "best_of": 2, "stream": True}, "best_of"),
    ],
)
async def test_what_is_refused(path: str, body: dict[str, Any], param: str) -> None:
    answer = await serve(TOKENIZER, ["x"]).http.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_best_of_several() -> None:
    served = serve(TOKENIZER, ["one", "two two", "three"])
    answer = await served.client.completions.create(model="m", prompt="x", n=2, best_of=3)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert [choice.text for choice in answer.choices] == ["one", "two two"]  # all are equally likely
    assert answer.usage.completion_tokens == 4 + 8 + 6
    assert all(choice.logprobs is None for choice in answer.choices)
