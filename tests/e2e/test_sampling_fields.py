"""Which tokens may be chosen, when answers end, what is told of prompts, and what is computed once: the real server."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from fixtures.server_process import Server
from inglenook.engine.block_contents import common_run

COUNT = "One, two, three,"
LONG = "The lighthouse stood on a cliff above the sea, and its keeper wrote every evening in a book. " * 8
TELLING = "Telling it exactly: "


def complete(server: Server, **fields: Any) -> Any:
    body = {"prompt": COUNT, "temperature": 0, "max_tokens": 8, **fields}
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(server: Server, **fields: Any) -> str | None:
    answer = httpx.post(f"{server.url}/v1/completions", json={"prompt": COUNT, **fields})
    assert answer.status_code == 400
    param: str | None = answer.json()["error"]["param"]
    return param


def text(answer: Any, index: int = 0) -> str:
    return str(answer["choices"][index]["text"])


def token_ids(server: Server, content: str) -> list[int]:
    return list(httpx.post(f"{server.url}/tokenize", json={"content": content}).json()["tokens"])


# --- tokens -----------------------------------------------------------------------------------------


def test_allowed_tokens(server: Server) -> None:
    words = [token_ids(server, word)[0] for word in (" red", " blue", ",")]
    answer = complete(server, allowed_token_ids=words, return_token_ids=True)
    assert set(answer["choices"][0]["token_ids"]) <= set(words)
    assert refused(server, allowed_token_ids=[]) == "allowed_token_ids"
    assert refused(server, allowed_token_ids=[5, 10**6]) == "allowed_token_ids"


def test_a_grammar_goes_before_allowed_tokens_and_bad_words(server: Server) -> None:
    limits = {"allowed_token_ids": token_ids(server, " red"), "bad_words": ["maybe", "never"]}
    assert text(complete(server, **limits, structured_outputs={"choice": ["maybe", "never"]})) in ("maybe", "never")


def test_bad_words(server: Server) -> None:
    free = text(complete(server, max_tokens=40))
    assert " five" in free and "six" in free
    held = text(complete(server, max_tokens=40, bad_words=["five", "six"]))
    assert " five" not in held and " six" not in held
    assert refused(server, bad_words=[""]) == "bad_words"


def test_typical_p(server: Server) -> None:
    drawn = {"temperature": 1.0, "seed": 3, "max_tokens": 24}
    assert complete(server, **drawn, typical_p=1)["choices"] == complete(server, **drawn)["choices"]
    assert text(complete(server, **drawn, typical_p=0.3)) != text(complete(server, **drawn))
    assert refused(server, typical_p=0) == "typical_p"


def test_the_models_ends_stay_beside_the_clients(server: Server) -> None:
    body = {
        "messages": [{"role": "user", "content": "Say hello."}],
        "temperature": 0,
        "max_tokens": 60,
        "stop_token_ids": [5],
    }
    (choice,) = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", None)
    (choice,) = httpx.post(f"{server.url}/v1/chat/completions", json={**body, "ignore_eos": True}, timeout=60).json()[
        "choices"
    ]
    assert choice["finish_reason"] == "length"


# --- ends -------------------------------------------------------------------------------------------


def test_a_loop_is_ended(server: Server) -> None:
    loop = {"max_pattern_size": 4, "min_count": 5}
    comma = token_ids(server, ",")
    answer = complete(server, allowed_token_ids=comma, max_tokens=100, repetition_detection=loop)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == ("," * 5, "stop", "repetition_detected")
    off = complete(server, allowed_token_ids=comma, max_tokens=20, repetition_detection={"max_pattern_size": 0})
    assert off["choices"][0]["finish_reason"] == "length"


def test_the_server_may_look_for_loops(default_model: str, serve: Any) -> None:
    own = serve(
        default_model, "--max-model-len", "512", "--repetition-detection", '{"max_pattern_size": 2, "min_count": 4}'
    )
    comma = token_ids(own, ",")
    (choice,) = complete(own, allowed_token_ids=comma, max_tokens=30)["choices"]
    assert (choice["text"], choice["stop_reason"]) == (",,,,", "repetition_detected")
    (choice,) = complete(own, allowed_token_ids=comma, max_tokens=30, repetition_detection={})["choices"]
    assert choice["finish_reason"] == "length"


def test_time_is_limited(server: Server) -> None:
    answer = complete(server, max_tokens=7000, ignore_eos=True, t_max_predict_ms=150)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert 0 < answer["usage"]["completion_tokens"] < 7000


# --- prompts ----------------------------------------------------------------------------------------


def test_prompt_logprobs_agree_with_those_of_an_answer(server: Server) -> None:
    """What a prompt's next token would be is what an answer to its beginning begins with."""
    told = complete(server, prompt_logprobs=2, return_token_ids=True)["choices"][0]
    ids, entries = told["prompt_token_ids"], told["prompt_logprobs"]
    assert entries[0] is None
    assert len(entries) == len(ids)
    for position in range(1, len(ids)):
        entry = entries[position]
        assert 2 <= len(entry) <= 3
        assert str(ids[position]) in entry
        best = min(entry.values(), key=lambda item: item["rank"])
        if best["rank"] == 1:
            begun = complete(server, prompt=ids[:position], max_tokens=1, logprobs=1)["choices"][0]["logprobs"]
            assert begun["token_logprobs"][0] == best["logprob"]
            assert begun["tokens"][0] == best["decoded_token"]


@pytest.mark.parametrize("max_tokens", [0, 6])
def test_echo_with_logprobs(server: Server, max_tokens: int) -> None:
    body = {"echo": True, "logprobs": 2, "max_tokens": max_tokens}
    choice = complete(server, **body)["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"] == "".join(logprobs["tokens"])
    assert choice["text"].startswith(COUNT)
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    assert all(value <= 0 for value in logprobs["token_logprobs"][1:])
    assert len(logprobs["tokens"]) == len(token_ids(server, COUNT)) + max_tokens
    offsets = [sum(map(len, logprobs["tokens"][:i])) for i in range(len(logprobs["tokens"]))]
    assert logprobs["text_offset"] == offsets
    plain = complete(server, logprobs=2, max_tokens=6)["choices"][0]["logprobs"]
    num_prompt = len(token_ids(server, COUNT))
    assert logprobs["token_logprobs"][num_prompt:] == plain["token_logprobs"][:max_tokens]

    streamed = httpx.post(
        f"{server.url}/v1/completions", json={"prompt": COUNT, "temperature": 0, "stream": True, **body}
    )
    parts = [
        json.loads(event[6:])["choices"][0] for event in streamed.text.split("\n\n") if event.startswith("data: {")
    ]
    assert "".join(part["text"] for part in parts) == choice["text"]
    for name, values in logprobs.items():
        assert [entry for part in parts if part["logprobs"] for entry in part["logprobs"][name]] == values


def test_a_cached_prompt_is_told_all_the_same(server: Server) -> None:
    body = {"prompt": LONG, "max_tokens": 1, "prompt_logprobs": 0}
    first = complete(server, **body)
    again = complete(server, **body)
    assert first["choices"] == again["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert complete(server, prompt=LONG, max_tokens=1)["usage"]["prompt_tokens_details"]["cached_tokens"] > 100


def test_salts_share_nothing(server: Server) -> None:
    def cached(**fields: Any) -> int:
        usage = complete(server, prompt="Salted. " + LONG, max_tokens=1, **fields)["usage"]
        return int(usage["prompt_tokens_details"]["cached_tokens"])

    assert cached(cache_salt="one") == 0
    assert cached(cache_salt="one") > 100
    assert cached(cache_salt="two") == 0
    assert cached() == 0
    assert refused(server, cache_salt="") == "cache_salt"


# --- several choices --------------------------------------------------------------------------------


def cached_tokens(answer: Any) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def computed_tokens(server: Server) -> float:
    return server.metric("prefix_cache_queries_total") - server.metric("prefix_cache_hits_total")


def test_choices_compute_their_prompt_once(server: Server) -> None:
    server.wait_until_idle()
    before = computed_tokens(server)
    answer = complete(server, prompt="Choices. " + LONG, n=6, temperature=1.0, seed=1)
    num_prompt = answer["usage"]["prompt_tokens"]
    assert num_prompt > 150
    # The first computes all of it, each of the others its last token, whose logits it needs.
    assert computed_tokens(server) - before == num_prompt + 5


def test_a_short_prompt_is_computed_once_too(server: Server) -> None:
    server.wait_until_idle()
    before = computed_tokens(server)
    answer = complete(server, prompt="Short prompts are made of few tokens", n=4, temperature=1.0, seed=1)
    assert 4 < answer["usage"]["prompt_tokens"] < 16
    assert cached_tokens(answer) == 0, "each prompt counts once, as computed for its first choice"
    assert computed_tokens(server) - before == answer["usage"]["prompt_tokens"] + 3
    again = complete(server, prompt="Short prompts are made of few tokens", n=4, temperature=1.0, seed=1)
    assert cached_tokens(again) == again["usage"]["prompt_tokens"] - 1
    assert [choice["text"] for choice in again["choices"]] == [choice["text"] for choice in answer["choices"]]


def test_cached_tokens_are_told_to_the_token(server: Server) -> None:
    first = complete(server, prompt=TELLING + LONG)
    for prompt in (LONG, LONG + first["choices"][0]["text"], LONG[: len(LONG) // 2] + " no more of it"):
        num_cached = cached_tokens(complete(server, prompt=TELLING + prompt))
        num_prompt = len(token_ids(server, TELLING + prompt))
        num_common = common_run(token_ids(server, TELLING + prompt), token_ids(server, TELLING + LONG))
        assert min(num_common, num_prompt - 1) <= num_cached < num_prompt
    assert cached_tokens(complete(server, prompt=TELLING + LONG)) == first["usage"]["prompt_tokens"] - 1


def test_prompts_compute_their_common_beginning_once(server: Server) -> None:
    server.wait_until_idle()
    before = computed_tokens(server)
    prompts = [f"Prompts. {LONG} Chapter {name}:" for name in ("one", "two", "three", "four")]
    answer = complete(server, prompt=prompts)
    one = answer["usage"]["prompt_tokens"] / 4
    assert one <= computed_tokens(server) - before <= one + 3 * 3, "the name, the colon"
    assert cached_tokens(answer) >= 3 * (one - 3)


def test_short_prompts_compute_their_common_beginning_once(server: Server) -> None:
    server.wait_until_idle()
    before = computed_tokens(server)
    beginning = "A few words that several questions share:"
    prompts = [f"{beginning} {rest}" for rest in ("why", "what for", "where to", "until when")]
    answer = complete(server, prompt=prompts, n=2, temperature=1.0, seed=2)
    num_shared, num_all = len(token_ids(server, beginning)), answer["usage"]["prompt_tokens"]
    assert 4 < num_shared < 16
    # The beginning once, and the tails: tokens as few as these aren't waited for, so that second choices compute them.
    num_tails = num_all - 4 * num_shared
    assert num_shared + num_tails + 4 <= computed_tokens(server) - before <= num_shared + 2 * num_tails
    assert cached_tokens(answer) == 3 * num_shared


def test_the_best_of_several(server: Server) -> None:
    drawn = {"temperature": 1.2, "seed": 5, "max_tokens": 12, "logprobs": 0}
    every = complete(server, **drawn, n=4)
    best = complete(server, **drawn, n=2, best_of=4)
    assert best["usage"] == {**every["usage"], "prompt_tokens_details": best["usage"]["prompt_tokens_details"]}

    def mean(choice: Any) -> float:
        values = choice["logprobs"]["token_logprobs"]
        return float(sum(values) / len(values))

    order = sorted(every["choices"], key=lambda choice: -mean(choice))
    assert [choice["text"] for choice in best["choices"]] == [choice["text"] for choice in order[:2]]
    assert refused(server, best_of=2, n=3) == "best_of"
    assert refused(server, best_of=2, stream=True) == "best_of"
