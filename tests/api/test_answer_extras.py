"""What answers hold beside the text where a request asks for it: usage as it grows, token ids, timings, names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fixtures.served import Served, serve
from fixtures.tool_cases.vocabulary import END_OF_TURN, byte_tokenizer
from inglenook.config import ServerSettings

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
TEXT = "Grüße, 🔥!"
TOKENIZER = byte_tokenizer(())
END = TOKENIZER.token_id(END_OF_TURN)
CONTINUOUS = {"stream": True, "stream_options": {"continuous_usage_stats": True}}


def start(*texts: str, settings: ServerSettings | None = None, step: int = 1) -> Served:
    return serve(TOKENIZER, list(texts) or [TEXT], server=settings, step=step)


async def post(served: Served, path: str, **body: Any) -> Any:
    answer = await served.http.post(path, json={**(CHAT if path.startswith("/chat") else {"prompt": "Hi"}), **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def chunks(served: Served, path: str, **body: Any) -> list[Any]:
    base = CHAT if path.startswith("/chat") else {"prompt": "Hi"}
    text = (await served.http.post(path, json={**base, "stream": True, **body})).text
    assert text.endswith("data: [DONE]\n\n")
    return [json.loads(event[6:]) for event in text.split("\n\n") if event.startswith("data: {")]


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit", [{}, {"max_tokens": 2}, {"max_tokens": 4}, {"stop": "ß"}], ids=["end", "n", "part of n", "stop"]
)
@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
async def test_usage_grows_with_every_chunk(path: str, limit: dict[str, Any]) -> None:
    served = start()
    limit = {"max_tokens": 100, **limit}
    whole = await post(served, path, **limit)
    events = await chunks(served, path, **CONTINUOUS, **limit)
    usages = [event["usage"] for event in events]
    counts = [usage["completion_tokens"] for usage in usages]
    said = counts[1:-1] if path.startswith("/chat") else counts[:-1]  # the role is no token
    assert said == sorted(set(said))
    assert said[0] > 0
    assert counts[-1] == counts[-2] == whole["usage"]["completion_tokens"]
    assert usages[-1] == whole["usage"]
    assert events[-1]["choices"] == []
    assert {usage["prompt_tokens"] for usage in usages} == {whole["usage"]["prompt_tokens"]}
    assert all(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages)


async def test_usage_of_several_prompts_and_choices_grows_to_the_sum() -> None:
    served = start("abc", "de", "fghi", "j")
    events = await chunks(served, "/completions", prompt=["x", "yz"], n=2, **CONTINUOUS)
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts[:-1] == sorted(set(counts[:-1]))
    assert events[-1]["usage"]["completion_tokens"] == 3 + 2 + 4 + 1 + 4
    prompts = [event["usage"]["prompt_tokens"] for event in events]
    assert prompts == sorted(prompts)
    assert prompts[-1] == 3


@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
async def test_no_usage_in_streams_that_did_not_ask(path: str) -> None:
    for options in ({}, {"stream_options": {}}, {"stream_options": {"include_usage": False}}):
        assert not any("usage" in event for event in await chunks(start(), path, **options))
    events = await chunks(start(), path, stream_options={"include_usage": True})
    assert [event["usage"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] > 0


async def test_flat_usage() -> None:
    served = start(settings=ServerSettings(usage_details=False))
    for path in ("/chat/completions", "/completions"):
        usage = (await post(served, path))["usage"]
        assert usage.keys() == {"prompt_tokens", "completion_tokens", "total_tokens"}
        assert (await chunks(served, path, **CONTINUOUS))[0]["usage"].keys() == usage.keys()


# --- token ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "hidden"), [({}, END_OF_TURN), ({"max_tokens": 4}, ""), ({"stop": "ße"}, "ße")], ids=["end", "n", "stop"]
)
async def test_token_ids_are_those_generated(limit: dict[str, Any], hidden: str) -> None:
    served = start()
    limit = {"max_tokens": 100, **limit}
    for path in ("/chat/completions", "/completions"):
        whole = await post(served, path, return_token_ids=True, **limit)
        [choice] = whole["choices"]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        assert TOKENIZER.decode(choice["token_ids"], skip_special_tokens=False) == text + hidden
        assert len(choice["token_ids"]) == whole["usage"]["completion_tokens"]
        prompt = whole["prompt_token_ids"] if "message" in choice else choice["prompt_token_ids"]
        assert prompt == list(served.engine.requests[-1].prompt_token_ids)

        events = await chunks(served, path, return_token_ids=True, **limit)
        streamed = [i for event in events for i in event["choices"][0].get("token_ids", [])]
        assert streamed == choice["token_ids"]
        holders = [event if "message" in choice else event["choices"][0] for event in events]
        assert holders[0]["prompt_token_ids"] == prompt
        assert not any("prompt_token_ids" in holder for holder in holders[1:])


async def test_each_prompt_has_its_ids() -> None:
    served = start("abc", "de", "fghi", "j")
    answer = await post(served, "/completions", prompt=["x", "yz"], n=2, return_token_ids=True, return_prompt_text=True)
    assert [choice["prompt_text"] for choice in answer["choices"]] == ["x", "x", "yz", "yz"]
    assert [len(choice["prompt_token_ids"]) for choice in answer["choices"]] == [1, 1, 2, 2]
    assert [len(choice["token_ids"]) for choice in answer["choices"]] == [4, 3, 5, 2]


async def test_token_ids_behind_a_stop_string_are_left_out() -> None:
    """Where tokens come several at a time, those behind the stop string are nobody's."""
    served = start("abcdefgh", step=5)
    answer = await post(served, "/completions", stop="bc", return_token_ids=True)
    assert TOKENIZER.decode(answer["choices"][0]["token_ids"]) == "abc"
    assert answer["usage"]["completion_tokens"] == 3


async def test_the_prompt_as_text() -> None:
    whole = await post(start(), "/chat/completions", return_prompt_text=True)
    assert whole["prompt_text"] == "user: Hi\nmodel: "
    assert "prompt_token_ids" not in whole
    events = await chunks(start(), "/chat/completions", return_prompt_text=True, n=2)
    assert [event.get("prompt_text") for event in events][:3] == ["user: Hi\nmodel: ", None, None]


async def test_tokens_as_ids() -> None:
    fields: dict[str, Any] = {"return_tokens_as_token_ids": True}
    chat = await post(start("ab"), "/chat/completions", logprobs=True, top_logprobs=1, **fields)
    [first, _] = chat["choices"][0]["logprobs"]["content"]
    assert first["token"] == first["top_logprobs"][0]["token"] == f"token_id:{TOKENIZER.token_id('<0x61>') or 97}"
    assert first["bytes"] == [97]
    older = (await post(start("ab"), "/completions", logprobs=1, **fields))["choices"][0]["logprobs"]
    assert older["tokens"][0] == first["token"] == next(iter(older["top_logprobs"][0]))
    assert older["text_offset"] == [0, 1]
    events = await chunks(start("ab"), "/chat/completions", logprobs=True, **fields)
    assert events[1]["choices"][0]["logprobs"]["content"][0]["token"] == first["token"]


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
async def test_timings(path: str) -> None:
    whole = await post(start(), path, timings_per_token=True)
    timings = whole["timings"]
    assert timings["prompt_n"] == whole["usage"]["prompt_tokens"]
    assert (timings["cache_n"], timings["predicted_n"]) == (0, whole["usage"]["completion_tokens"])
    assert timings["prompt_ms"] > 0
    assert timings["predicted_ms"] > 0
    assert timings["predicted_per_second"] == pytest.approx(
        timings["predicted_n"] / timings["predicted_ms"] * 1e3, rel=0.1
    )
    assert "timings" not in await post(start(), path)
    events = await chunks(start(), path, timings_per_token=True)
    assert ["timings" in event for event in events] == [False] * (len(events) - 1) + [True]


async def test_service_tier_is_said_where_it_was_asked_for() -> None:
    for path in ("/chat/completions", "/completions"):
        assert (await post(start(), path, service_tier="flex"))["service_tier"] == "default"
        assert "service_tier" not in await post(start(), path)
        events = await chunks(start(), path, service_tier="auto")
        assert {event["service_tier"] for event in events} == {"default"}


async def test_two_requests_of_one_name_at_a_time() -> None:
    served = start("abcdefgh" * 20, "ABCDEFGH" * 20)
    first, second = await asyncio.gather(
        *(post(served, "/completions", request_id="same", max_tokens=100) for _ in range(2))
    )
    assert first["id"] == second["id"] == "cmpl-same"
    assert {first["choices"][0]["text"][:4], second["choices"][0]["text"][:4]} == {"abcd", "ABCD"}
    assert len({request.request_id for request in served.engine.requests}) == 2


async def test_nothing_is_there_unasked() -> None:
    keys = {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}
    assert (await post(start(), "/chat/completions")).keys() == keys
    assert (await post(start(), "/completions")).keys() == keys
