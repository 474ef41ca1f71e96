"""OpenAI's requests, field by field. Answers and streams are checked byte for byte in tests/api."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.dialects.json_fields import decode_object
from inglenook.dialects.openai.answers import AnswerHead, error_body, new_id
from inglenook.dialects.openai.chat import ChatStream
from inglenook.dialects.openai.fields import CHAT_ONLY, REFUSED, WITHOUT_EFFECT
from inglenook.dialects.openai.requests import Parsed, parse_chat, parse_completion
from inglenook.errors import EngineError, InvalidRequestError, UnsupportedParameterError
from inglenook.types import (
    MODEL_DEFAULTED,
    ChatRequest,
    CompletionRequest,
    Delta,
    Message,
    RepetitionDetection,
    SamplingParams,
)

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def chat(**fields: Any) -> Parsed[ChatRequest]:
    return parse_chat(json.dumps({"messages": [USER], **fields}).encode(), "id-1")


def completion(**fields: Any) -> Parsed[CompletionRequest]:
    return parse_completion(json.dumps({"prompt": "x", **fields}).encode(), "id-1")


def refusal(**fields: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**fields)
    return caught.value


def test_defaults() -> None:
    parsed = chat()
    left_open = {"model_defaulted": MODEL_DEFAULTED}
    assert parsed.request == ChatRequest("id-1", "", SamplingParams(), messages=(Message("user", "Hi"),), **left_open)
    assert (parsed.stream, parsed.wanted.usage, parsed.unknown_fields) == (False, False, ())
    sampling = SamplingParams(max_tokens=16)
    assert completion().request == CompletionRequest("id-1", "", sampling, prompts=("x",), **left_open)


CONSTRAINTS = ["response_format", "structured_outputs", "structural_tag", "regex", "ebnf", "grammar", "json_schema"]
CONSTRAINTS += ["guided_json", "guided_json_object", "guided_regex", "guided_choice", "guided_grammar"]
EXTRA = ["allowed_token_ids", "bad_words", "repetition_detection", "t_max_predict_ms", "cache_salt"]
HONOURED: dict[str, Any] = {
    "min_tokens": 2,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "typical_p": 0.7,
    "repetition_penalty": 1.1,
    "presence_penalty": -1.5,
    "frequency_penalty": 1.5,
    "seed": -3,
    "include_stop_str_in_output": True,
    "ignore_eos": True,
    "skip_special_tokens": False,
}


def test_honoured_fields() -> None:
    both = {
        **HONOURED,
        "max_tokens": 9,
        "stop": ["a", "b"],
        "stop_token_ids": [5, 6],
        "logit_bias": {"7": -100, "8": 1.5},
        "allowed_token_ids": [7, 8],
        "bad_words": ["x", " y"],
        "repetition_detection": {"max_pattern_size": 20, "min_pattern_size": 3, "min_count": 4},
        "t_max_predict_ms": 1500,
        "cache_salt": "tenant",
        "n": 3,
        "priority": -1,
        "model": "m",
    }
    expected = SamplingParams(
        **HONOURED,
        max_tokens=9,
        stop=("a", "b"),
        stop_token_ids=(5, 6),
        logit_bias={7: -100.0, 8: 1.5},
        allowed_token_ids=(7, 8),
        bad_words=("x", " y"),
        repetition_detection=RepetitionDetection(20, 3, 4),
        max_generation_s=1.5,
    )
    for request in (chat(**both).request, completion(**both).request):
        assert request.sampling == expected
        assert (request.num_choices, request.priority, request.model) == (3, -1, "m")
        assert request.cache_salt == "tenant"
    scored = chat(prompt_logprobs=3)
    assert scored.request.sampling.prompt_logprobs == scored.wanted.prompt_logprobs == 3
    assert completion(best_of=3, n=2).request.best_of == 3
    assert completion(best_of=2, n=2, stream=True).request.best_of is None
    assert chat(t_max_predict_ms=0, cache_salt=None, repetition_detection={}).request.sampling == SamplingParams(
        repetition_detection=RepetitionDetection()
    )


def test_explicit_nulls_are_not_given() -> None:
    names = [
        *HONOURED,
        *REFUSED,
        *CHAT_ONLY,
        *CONSTRAINTS,
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "stop_token_ids",
        "logit_bias",
        *EXTRA,
    ]
    names += ["n", "priority", "model", "logprobs", "top_logprobs", "stream", "stream_options", "unheard_of", "user"]
    nulls = dict.fromkeys(names)
    assert chat(**nulls) == chat()
    assert completion(**nulls) == completion()


def test_max_completion_tokens_wins() -> None:
    assert chat(max_tokens=5, max_completion_tokens=7).request.sampling.max_tokens == 7
    assert refusal(max_completion_tokens=0).param == "max_completion_tokens"
    assert refusal(max_tokens=0).param == "max_tokens"
    assert completion(max_tokens=0, echo=True).request.sampling.max_tokens == 0


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        ({"repeat_penalty": 1.5}, {"repetition_penalty": 1.5}),
        ({"repeat_penalty": 1.5, "repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
        ({"repeat_penalty": 1.5, "repeat_last_n": -1}, {"repetition_penalty": 1.5}),
        ({"repeat_last_n": 64}, {}),
        ({"no_stop_trim": True}, {"include_stop_str_in_output": True}),
        ({"n_predict": 7}, {"max_tokens": 7}),
        ({"max_new_tokens": 7}, {"max_tokens": 7}),
        ({"return_tokens": True}, {"return_token_ids": True}),
        ({"n_keep": -1}, {}),
    ],
)
def test_names_of_other_servers(other: dict[str, Any], ours: dict[str, Any]) -> None:
    assert chat(**other) == chat(**ours)
    assert completion(**other) == completion(**ours)


def test_no_limit_in_llama_cpp() -> None:
    assert chat(n_predict=-1).request.sampling.max_tokens is None
    assert completion(n_predict=-1).request.sampling.max_tokens is None


def test_samplers() -> None:
    parsed = chat(samplers="kpi", temperature=0.7, repeat_penalty=1.1, repeat_last_n=64)
    sampling = parsed.request.sampling
    assert (sampling.temperature, sampling.repetition_penalty) == (0.0, 1.0)
    assert parsed.request.model_defaulted == {"top_k", "top_p"}
    assert "infill" in parsed.warnings[0]
    assert completion(samplers=["temperature", "new"], top_k=5).unknown_fields == ("samplers.new",)
    for samplers in ([], "", None):
        assert chat(samplers=samplers, temperature=0.7) == chat(temperature=0.7)


def test_ids_that_clients_choose() -> None:
    def answer_id(**fields: Any) -> str:
        return parse_chat(json.dumps({"messages": [USER], **fields}).encode(), "chatcmpl-1").answer_id

    assert answer_id() == "chatcmpl-1"
    assert answer_id(rid="mine") == "mine"
    assert answer_id(request_id="mine") == answer_id(request_id="chatcmpl-mine") == "chatcmpl-mine"
    assert chat(request_id="mine").request.request_id == "id-1", "two that run may have one name"


def test_usage_in_streams() -> None:
    def wanted(**options: Any) -> tuple[bool, bool]:
        parsed = chat(stream=True, stream_options=options).wanted
        return parsed.usage, parsed.continuous_usage

    assert wanted() == (False, False)
    assert wanted(include_usage=True) == (True, False)
    assert wanted(continuous_usage_stats=True) == (True, True)
    assert wanted(include_usage=True, continuous_usage_stats=True) == (True, True)
    assert wanted(include_usage=False, continuous_usage_stats=True) == (False, False)


def test_numbers_may_be_written_either_way() -> None:
    assert chat(max_tokens=8.0, temperature=1).request.sampling == SamplingParams(max_tokens=8, temperature=1.0)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"typical_p": 0}, "typical_p", "(0, 1]"),
        ({"allowed_token_ids": []}, "allowed_token_ids", "is empty"),
        ({"allowed_token_ids": [-1]}, "allowed_token_ids[0]", "-1"),
        ({"bad_words": ["a", " "]}, "bad_words", "is empty"),
        ({"bad_words": ["a"] * 1025}, "bad_words", "1024"),
        ({"repetition_detection": {"max_pattern_size": 5, "min_count": 1}}, "repetition_detection.min_count", "2"),
        ({"repetition_detection": {"max": 5}}, "repetition_detection", "not max"),
        ({"cache_salt": ""}, "cache_salt", "empty"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", "between 0 and 20"),
        ({"prompt_logprobs": 21}, "prompt_logprobs", "between 0 and 20"),
        ({"prompt_logprobs": 0, "stream": True}, "prompt_logprobs", "stream"),
        ({"best_of": 2}, "best_of", "not supported"),
        ({"temperature": "0.5"}, "temperature", "temperature: expected a number, got a string"),
        ({"temperature": True}, "temperature", "got a boolean"),
        ({"temperature": -0.1}, "temperature", "-0.1"),
        ({"temperature": 10**30}, "temperature", "64 bits"),
        ({"top_p": 0}, "top_p", "(0, 1]"),
        ({"max_tokens": True}, "max_tokens", "expected an integer, got a boolean"),
        ({"top_k": -2}, "top_k", "at least -1"),
        ({"top_k": 1.5}, "top_k", "got a fraction"),
        ({"max_tokens": -1}, "max_tokens", "-1"),
        ({"max_tokens": [1]}, "max_tokens", "expected an integer, got a list"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens", "larger than"),
        ({"seed": 2**63}, "seed", "64 bits"),
        ({"seed": 1.5}, "seed", "fraction"),
        ({"n": 0}, "n", "between 1 and 128"),
        ({"n": 129}, "n", "between 1 and 128"),
        ({"stop": 5}, "stop", "a string or a list of strings"),
        ({"stop": ["a", 5]}, "stop[1]", "expected a string, got a number"),
        ({"stop": ""}, "stop", "empty"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "-1"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "'x' is not a token id"),
        ({"logit_bias": {"-1": 1}}, "logit_bias", "'-1'"),
        ({"logit_bias": {"1": 101}}, "logit_bias", "101"),
        ({"logit_bias": {"1": "a"}}, "logit_bias.1", "expected a number"),
        ({"logit_bias": [1]}, "logit_bias", "expected an object"),
        ({"logprobs": 1}, "logprobs", "expected a boolean"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
        ({"top_logprobs": 1}, "top_logprobs", "logprobs: true"),
        ({"stream": "yes"}, "stream", "expected a boolean"),
        ({"stream_options": {}}, "stream_options", "stream is true"),
        ({"stream": True, "stream_options": []}, "stream_options", "expected an object"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "boolean"),
        ({"max_tokens": 5, "n_predict": 6}, "n_predict", "two names of one field"),
        ({"max_tokens": 5, "n_predict": -1}, "n_predict", "two names of one field"),
        ({"repetition_penalty": 1, "repeat_penalty": 1.5}, "repeat_penalty", "two names of one field"),
        ({"repeat_penalty": 1.5, "repeat_last_n": 64}, "repeat_last_n", "all tokens"),
        ({"frequency_penalty": 1, "repeat_last_n": 0}, "repeat_last_n", "all tokens"),
        ({"request_id": "a b"}, "request_id", "printable ASCII"),
        ({"rid": "x" * 129}, "rid", "printable ASCII"),
        ({"service_tier": "fast"}, "service_tier", "must be one of auto, default"),
        ({"timings_per_token": 1}, "timings_per_token", "boolean"),
        ({"model": 5}, "model", "expected a string"),
        ({"messages": None}, "messages", "missing"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": "hi"}, "messages", "a list of messages"),
        ({"messages": ["hi"]}, "messages[0]", "an object with role"),
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role", "missing"),
        ({"messages": [{"role": 5}]}, "messages[0].role", "expected a string"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "a string or a list of parts"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]", "an object"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "missing"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0]",
            "'image_url'",
        ),
        ({"messages": [{**USER, "name": 5}]}, "messages[0].name", "expected a string"),
        ({"messages": [{**USER, "tool_calls": {}}]}, "messages[0].tool_calls", "a list of calls"),
        ({"messages": [{**USER, "tool_calls": [5]}]}, "messages[0].tool_calls[0]", "an object with a function"),
        ({"messages": [{**USER, "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function", "missing"),
        ({"messages": [{**USER, "tool_calls": [{"function": {}}]}]}, "messages[0].tool_calls[0].function.name", "miss"),
        (
            {"messages": [{**USER, "tool_calls": [{"function": {"name": "f", "arguments": 5}}]}]},
            "messages[0].tool_calls[0].function.arguments",
            "a string that holds JSON",
        ),
        ({"messages": [{**USER, "function_call": "f"}]}, "messages[0].function_call", "an object"),
        ({"messages": [{"role": "tool", "content": "5", "tool_call_id": 1}]}, "messages[0].tool_call_id", "a string"),
        ({"documents": {}}, "documents", "a list of objects"),
        ({"documents": ["x"]}, "documents[0]", "an object"),
        ({"repair": "yes"}, "repair", "a boolean"),
        ({"repair_keys": 5}, "repair_keys", "a list of strings"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt", "exclude"),
        ({"chat_template_kwargs": 5}, "chat_template_kwargs", "expected an object"),
    ],
)
def test_bad_values_are_named(fields: dict[str, Any], param: str, words: str) -> None:
    error = refusal(**fields)
    assert error.status == 400
    assert error.param == param
    assert words in error.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "it is empty"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1,\n "b"}', "line 2"),
        (b"[]", "a JSON object, not a list"),
        (b'"x"', "not a string"),
        (b"null", "not null"),
        (b'{"a": NaN}', "NaN, which is no JSON number"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\\udc00x"}', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        (b'{"a": "' + b"x" * (2 << 20), "truncated"),
    ],
)
def test_bodies_that_are_no_json(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match="body") as caught:
        decode_object(body)
    assert words in caught.value.message
    assert len(caught.value.message) < 200


def test_deep_values_for_templates_are_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert "deeper" in refusal(chat_template_kwargs={"x": deep}).message
    assert "deeper" in refusal(messages=[{**USER, "whatever": deep}]).message
    assert "deeper" in refusal(documents=[{"x": deep}]).message
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": deep}}}}
    assert "deeper" in refusal(tools=[tool]).message


def test_messages() -> None:
    messages = chat(
        messages=[
            {"role": "system", "content": ""},
            {"role": "checking_agent", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
            {"role": "assistant", "tool_calls": []},
            {"role": "tool", "content": [{"type": "text", "text": "5"}], "tool_call_id": "1", "name": "f"},
            {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "content": "6", "name": "f"},
        ]
    ).request.messages
    assert messages == (
        Message("system", ""),
        Message("checking_agent", "a\nb"),
        Message("assistant", None, extra={"tool_calls": [CALL]}),
        Message("assistant", None, extra={"tool_calls": []}),
        Message("tool", "5", "f", {"tool_call_id": "1"}),
        Message("assistant", "", extra={"function_call": {"name": "f", "arguments": "{}"}}),
        Message("function", "6", "f"),
    )


def test_continuing_the_last_message() -> None:
    request = chat(continue_final_message=True).request
    assert (request.continue_final_message, request.add_generation_prompt) == (True, False)
    assert chat(add_generation_prompt=False).request.add_generation_prompt is False


def test_logprobs() -> None:
    assert chat(logprobs=True).request.sampling.logprobs == 0
    assert chat(logprobs=True, top_logprobs=3).request.sampling.logprobs == 3
    assert chat(logprobs=False, top_logprobs=0).request.sampling.logprobs is None
    assert completion(logprobs=0).request.sampling.logprobs == 0
    assert (completion(logprobs=0).wanted.logprobs, completion().wanted.logprobs) == (True, False)
    assert chat(n_probs=3).request == chat(logprobs=True, top_logprobs=3).request
    assert chat(n_probs=0).request == chat().request
    assert completion(n_probs=3).request == completion(logprobs=3).request
    with pytest.raises(InvalidRequestError, match="between 0 and 20"):
        completion(logprobs=21)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ("a",)),
        ("", ("",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [3]], ("a", (3,))),
    ],
)
def test_prompts(prompt: Any, expected: Any) -> None:
    assert completion(prompt=prompt).request.prompts == expected


@pytest.mark.parametrize(
    "prompt", [None, [], [[]], 5, {}, [None], ["a", 5], [1, "a"], [[1, "a"]], [1.5], [-1], [2**40], ["x"] * 1025]
)
def test_bad_prompts(prompt: Any) -> None:
    with pytest.raises(InvalidRequestError, match="prompt") as caught:
        completion(prompt=prompt)
    assert str(caught.value.param).startswith("prompt")


@pytest.mark.parametrize("name", [name for name, neutral in REFUSED.items() for _ in neutral or [None]])
def test_values_that_ask_for_nothing_pass(name: str) -> None:
    for value in (None, False, "", [], {}, *REFUSED[name]):
        if name not in ("best_of", "echo", "add_special_tokens", "suffix"):
            assert chat(**{name: value}).unknown_fields == ()


def test_neutral_numbers_are_not_booleans() -> None:
    with pytest.raises(UnsupportedParameterError):
        chat(logprob_token_ids=0)  # 0 == False in Python, but it asks for something
    with pytest.raises(UnsupportedParameterError):
        chat(length_penalty=True)


@pytest.mark.parametrize("name", CHAT_ONLY)
def test_chat_fields_on_the_other_route(name: str) -> None:
    for value in (None, False, "", [], {}, *CHAT_ONLY[name]):
        assert completion(**{name: value}).unknown_fields == ()
    with pytest.raises(UnsupportedParameterError, match="chat requests only") as caught:
        completion(**{name: [{"x": 1}]})
    assert caught.value.param == name


def test_repair_and_documents() -> None:
    assert (chat().request.is_repaired, chat(repair=False).request.is_repaired) == (None, False)
    mended = completion(repair=True, repair_keys=["a", "b"]).request
    assert (mended.is_repaired, mended.repair_keys) == (True, ("a", "b"))
    assert chat(repair_keys=["a"]).request.is_repaired is True
    assert chat(documents=[{"title": "t", "text": "x"}]).request.documents == ({"title": "t", "text": "x"},)


def test_fields_without_effect() -> None:
    assert chat(**dict.fromkeys(WITHOUT_EFFECT, "x")) == chat()
    assert not WITHOUT_EFFECT & set(REFUSED)


def test_unknown_fields_are_kept_for_the_header() -> None:
    options = {"include_usage": True, "include_obfuscation": False, "z": 1}
    parsed = chat(foo=1, bar=[], stream=True, stream_options=options)
    assert parsed.unknown_fields == ("foo", "bar", "stream_options.z")
    assert (parsed.stream, parsed.wanted.usage) == (True, True)


def test_error_body() -> None:
    body = json.loads(error_body(EngineError("x" * 5000)))
    assert len(body["error"]["message"]) == 2000
    assert body["error"]["message"].endswith("...")


def test_ids_differ() -> None:
    assert len({new_id("cmpl") for _ in range(100)}) == 100


@given(texts=st.lists(st.text(), max_size=5))
def test_stream_text_survives(texts: list[str]) -> None:
    stream = ChatStream(AnswerHead("id", 0, "m", "f"))
    events = [event for text in texts for event in stream.encode(Delta(0, text))]
    assert all(b"\n" not in event for event in events)
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(delta["content"] for delta in deltas) == "".join(texts)


def test_unknown_fields_in_objects() -> None:
    wrapped = {"name": "n", "description": "d", "schema": {}, "z": 1}
    parsed = chat(
        response_format={"type": "json_schema", "json_schema": wrapped, "y": 1},
        reasoning={"effort": "low", "x": 1, "given": None},
        thinking={"type": "adaptive", "display": "omitted", "w": 1},
    )
    assert set(parsed.unknown_fields) == {
        "response_format.y",
        "response_format.json_schema.z",
        "reasoning.x",
        "thinking.w",
    }
    tag = {"type": "structural_tag", "format": {"type": "any_text"}, "begin": "x"}
    assert chat(response_format=tag).unknown_fields == ()
