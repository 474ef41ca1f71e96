"""Prompts that are cut on request: how much, where, and that it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.scripted_engine import scripted_backend
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.backends.truncation import truncated
from inglenook.dialects.openai.requests import parse_chat, parse_completion
from inglenook.errors import ContextLengthError, InvalidRequestError
from inglenook.types import CompletionRequest, SamplingParams

BOS = 1
LONG = [BOS, *range(10, 90)]


def cut(length: int | None, *, context: int = 100, prompt: list[int] = LONG, **options: Any) -> list[int]:
    sampling = SamplingParams(max_tokens=options.pop("max_tokens", None))
    request = CompletionRequest("r", "m", sampling, truncate_prompt_tokens=length, **options)
    [result], warnings = truncated([prompt], request, context, BOS)
    assert len(warnings) == (len(result) < len(prompt)), "nothing is cut in silence"
    return result


def test_the_end_stays_and_the_token_that_begins_texts() -> None:
    assert cut(None) == LONG
    assert cut(81) == LONG
    assert cut(5) == [BOS, 86, 87, 88, 89]
    assert cut(5, prompt=LONG[1:]) == [85, 86, 87, 88, 89]
    assert cut(1) == [BOS]
    assert cut(3, truncation_side="right") == [BOS, 10, 11]


def test_minus_one_leaves_room_for_the_answer() -> None:
    assert len(cut(-1, max_tokens=30)) == 70
    assert len(cut(-1, max_tokens=19)) == 81
    assert len(cut(-1, max_tokens=4096)) == 50, "half of the context at most"
    assert len(cut(-1, context=300)) == 81
    assert len(cut(-1, context=300, prompt=[BOS, *range(10, 410)])) == 150


def test_what_the_context_cannot_hold_is_refused() -> None:
    with pytest.raises(ContextLengthError, match="is 101, but"):
        cut(101)
    with pytest.raises(InvalidRequestError, match="at least 1, or -1"):
        cut(0)


def test_fields() -> None:
    def request(**fields: Any) -> tuple[int | None, str]:
        chat = parse_chat(json.dumps({"messages": [{"role": "user", "content": "x"}], **fields}).encode(), "i").request
        older = parse_completion(json.dumps({"prompt": "x", **fields}).encode(), "i").request
        assert older.truncate_prompt_tokens == chat.truncate_prompt_tokens
        assert older.truncation_side == chat.truncation_side
        return chat.truncate_prompt_tokens, chat.truncation_side

    assert request() == (None, "left")
    assert request(truncate_prompt_tokens=-1, truncation_side="right") == (-1, "right")
    for fields, param in (
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"truncation_side": "middle"}, "truncation_side"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            request(**fields)
        assert caught.value.param == param


async def test_what_the_model_gets_is_what_is_shown_and_echoed() -> None:
    backend, engine = scripted_backend(byte_tokenizer(frozenset()), "", ["!"])
    request = CompletionRequest(
        "r", "m", SamplingParams(max_tokens=1), prompts=("abcdef", "xy"), echo=True, truncate_prompt_tokens=3
    )
    shown = await backend.render(request, with_tokens=True)
    assert [prompt.text for prompt in shown] == ["def", "xy"]
    assert [len(prompt.warnings) for prompt in shown] == [1, 0]
    deltas = [delta async for delta in backend.complete(request)]
    assert [request.prompt_token_ids for request in engine.requests] == [prompt.token_ids for prompt in shown]
    assert "".join(delta.text for delta in deltas if delta.index == 0) == "def!"
    assert deltas[0].warnings == ("The prompt has 6 tokens; 3 were cut off at its beginning (truncate_prompt_tokens).",)
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.prompt_tokens == 5
