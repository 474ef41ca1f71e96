"""A model's own sampling: where it comes from, and what wins over it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inglenook.backends.generation_config import read_generation_config
from inglenook.dialects.openai.requests import parse_chat, parse_completion
from inglenook.errors import CheckpointError
from inglenook.types import MODEL_DEFAULTED, CompletionRequest, SamplingParams

RECOMMENDED = {"temperature": 0.2, "top_p": 0.9}


def request(sampling: SamplingParams, left_open: frozenset[str]) -> CompletionRequest:
    return CompletionRequest("id", "model", sampling, model_defaulted=left_open)


def test_the_file_wins_over_the_catalogue_and_the_client_over_both() -> None:
    config = read_generation_config({"temperature": 0.6, "top_k": 40, "do_sample": True}, RECOMMENDED)
    assert config.sampling == {"temperature": 0.6, "top_k": 40, "top_p": 0.9}
    left_open = config.apply(request(SamplingParams(max_tokens=7), MODEL_DEFAULTED))
    assert left_open == SamplingParams(max_tokens=7, temperature=0.6, top_k=40, top_p=0.9)
    given = config.apply(request(SamplingParams(temperature=0.0), MODEL_DEFAULTED - {"temperature"}))
    assert given == SamplingParams(temperature=0.0, top_k=40, top_p=0.9)
    all_given = config.apply(request(SamplingParams(), frozenset()))
    assert all_given == SamplingParams()


@pytest.mark.parametrize(("value", "ids"), [(None, set()), (2, {2}), ([2, 0, 7], {2, 0, 7})])
def test_end_of_text(value: Any, ids: set[int]) -> None:
    assert read_generation_config({"eos_token_id": value}, {}).eos_token_ids == ids


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": True}, "top_p"),
        ({"eos_token_id": ["</s>"]}, "eos_token_id"),
        ({"eos_token_id": -1}, "eos_token_id"),
    ],
)
def test_nonsense_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        read_generation_config(values, {})


def test_requests_tell_what_they_leave_open() -> None:
    chat = {"messages": [{"role": "user", "content": "x"}], "temperature": 1, "top_p": None}
    assert parse_chat(json.dumps(chat).encode(), "id").request.model_defaulted == MODEL_DEFAULTED - {"temperature"}
    completion = {"prompt": "x", "top_k": 0, "min_p": 0.0}
    parsed = parse_completion(json.dumps(completion).encode(), "id").request
    assert parsed.model_defaulted == MODEL_DEFAULTED - {"top_k", "min_p"}
