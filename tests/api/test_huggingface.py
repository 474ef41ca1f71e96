"""Text Generation Inference's routes over an engine that plays texts: exact shapes, streams, errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fixtures import huggingface_schemas as schemas
from fixtures.scripted_engine import LOGPROB
from fixtures.served import Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.errors import EngineError, InglenookError, OverloadedError, UnavailableError
from inglenook.types import AnsweredPrompt, CompletionRequest, Delta, TokenLogprob, Usage

if TYPE_CHECKING:
    from conftest import ScriptedBackend

PROMPT = "Say: "


def served(*texts: str, **settings: Any) -> Served:
    return serve(byte_tokenizer(()), list(texts), **settings)


async def post(server: Served, path: str, status: int = 200, *, inputs: str = PROMPT, **body: Any) -> Any:
    response = await server.http.post(path, json={"inputs": inputs, **body})
    assert response.status_code == status, response.text
    return response.json()


async def events(server: Served, path: str, **body: Any) -> list[dict[str, Any]]:
    response = await server.http.post(path, json={"inputs": PROMPT, **body})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("}\n\n") and "[DONE]" not in response.text
    return [json.loads(event.removeprefix("data: ")) for event in response.text.split("\n\n")[:-1]]


# --- whole answers --------------------------------------------------------------------------------


async def test_generate_gives_an_object_and_the_root_a_list() -> None:
    server = served("héllo")
    assert await post(server, "/generate") == {"generated_text": "héllo"}
    assert await post(server, "/") == [{"generated_text": PROMPT + "héllo"}]
    assert await post(server, "/models/m") == [{"generated_text": PROMPT + "héllo"}]
    assert await post(server, "/", parameters={"return_full_text": False}) == [{"generated_text": "héllo"}]
    assert await post(server, "/generate", parameters={"return_full_text": True}, stream=True) == {
        "generated_text": PROMPT + "héllo"
    }


async def test_details() -> None:
    server = served("hé")
    answer = schemas.check(
        await post(server, "/generate", parameters={"details": True, "top_n_tokens": 1}), schemas.GENERATED
    )
    details = answer["details"]
    assert (details["finish_reason"], details["generated_tokens"], details["seed"]) == ("eos_token", 4, None)
    assert [token["text"] for token in details["tokens"]] == ["h", "", "é", ""]  # é is two bytes, two tokens
    assert [token["special"] for token in details["tokens"]] == [False, False, False, True]
    assert all(token["logprob"] == LOGPROB for token in details["tokens"])
    assert [[token["id"] for token in tops] for tops in details["top_tokens"]] == [
        [token["id"]] for token in details["tokens"]
    ]
    assert details["prefill"] == [] and "best_of_sequences" not in details


async def test_a_stop_sequence_ends_the_text_as_tgi_has_it() -> None:
    server = served("one\ntwo")
    answer = await post(server, "/generate", parameters={"stop": ["\n"], "details": True})
    assert answer["generated_text"] == "one\n"
    assert answer["details"]["finish_reason"] == "stop_sequence"
    assert "".join(token["text"] for token in answer["details"]["tokens"]) == "one\n"


async def test_best_of() -> None:
    server = served("one", "two")
    answer = await post(server, "/generate", parameters={"best_of": 2, "do_sample": True, "details": True, "seed": 7})
    schemas.check(answer, schemas.GENERATED)
    texts = [answer["generated_text"], answer["details"]["best_of_sequences"][0]["generated_text"]]
    assert sorted(texts) == ["one", "two"]
    assert {answer["details"]["seed"], answer["details"]["best_of_sequences"][0]["seed"]} == {7, 8}
    assert [request.sampling.seed for request in server.engine.requests] == [7, 8]
    server = served("one")
    assert await post(server, "/generate", parameters={"best_of": 2, "temperature": 0.5}) == {"generated_text": "one"}


async def test_several_sequences() -> None:
    server = served("one", "two")
    parameters = {"num_return_sequences": 2, "do_sample": True, "return_full_text": False}
    answer = await post(server, "/models/m", parameters=parameters)
    assert [item["generated_text"] for item in answer] == ["one", "two"]
    refused = await post(server, "/generate", 422, parameters=parameters)
    assert "num_return_sequences" in refused["error"]


async def test_grammars() -> None:
    for kind, value in [
        ("json", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
        ("json", '{"type": "object", "properties": {"a": {"type": "integer"}}}'),
        ("json_schema", {"name": "x", "schema": {"type": "object"}}),
        ("regex", r'\{"a": ?\d\}'),
    ]:
        answer = await post(served('{"a": 1}'), "/generate", parameters={"grammar": {"type": kind, "value": value}})
        assert answer == {"generated_text": '{"a": 1}'}
    answer = await post(served("hello"), "/generate", 424, parameters={"grammar": {"type": "regex", "value": "[0-9]+"}})
    assert answer["error_type"] == "generation"


async def test_a_model_of_the_path_may_have_slashes(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for path in ("/models/org/model", "/models/org%2Fmodel", "/v1/models/org/model/", "http://test//models//org/model"):
        answer = await http.post(path, json={"inputs": "Hi"})
        assert answer.json() == [{"generated_text": "HiHello there"}]
        assert backend.requests[-1].model == "org/model"
    for path in ("/models/dummy", "/", "/pipeline/text-generation/tiny", "/models/tiny/pipeline/text-generation"):
        assert (await http.post(path, json={"inputs": "Hi"})).status_code == 200
        assert backend.requests[-1].model == "tiny"


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3])
async def test_a_stream_has_an_event_for_each_token(step: int) -> None:
    server = served("hé 🌍!", step=step)
    found = await events(server, "/generate_stream", parameters={"details": True, "top_n_tokens": 1})
    assert schemas.check_events(found) == "hé 🌍!"
    assert found[-1]["generated_text"] == "hé 🌍!"
    assert len(found) == len("hé 🌍!".encode()) + 1  # the end of text is a token too
    assert found[-1]["details"] == {
        "finish_reason": "eos_token",
        "generated_tokens": len(found),
        "seed": None,
        "input_length": len(PROMPT),
    }
    assert all(len(event["top_tokens"]) == 1 for event in found)


async def test_a_stream_at_the_root() -> None:
    found = await events(served("abc"), "/", stream=True, parameters={"max_new_tokens": 2})
    assert schemas.check_events(found) == "ab"
    assert found[-1]["generated_text"] == PROMPT + "ab"
    assert found[-1]["details"] is None and "top_tokens" not in found[0]
    found = await events(served("abc"), "/models/m", stream=True, parameters={"return_full_text": False})
    assert found[-1]["generated_text"] == "abc"


async def test_a_stop_sequence_in_a_stream() -> None:
    found = await events(served("a stop here"), "/generate_stream", parameters={"stop": ["stop"], "details": True})
    assert schemas.check_events(found) == "a stop"
    assert found[-1]["details"]["finish_reason"] == "stop_sequence"


async def test_a_grammar_may_leave_no_token_for_the_end(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    token = TokenLogprob(5, "x", b"x", -0.25)
    end = Delta(finish_reason="stop", usage=Usage(1, 1))
    backend.script = (Delta(0, "x", (5,), (token,), prompt=AnsweredPrompt((1,))), end)
    text = (await http.post("/generate_stream", json={"inputs": "Hi", "parameters": {"details": True}})).text
    found = [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]
    assert schemas.check_events(found) == "x"
    assert found[-1]["details"]["generated_tokens"] == 1


async def test_choices_cant_be_streamed() -> None:
    server = served("abc")
    for name in ("best_of", "num_return_sequences"):
        answer = await post(server, "/generate_stream", 422, parameters={name: 2, "do_sample": True})
        assert name in answer["error"]


async def test_an_error_in_a_stream(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "Hello", (1,)), EngineError("Broken."))
    text = (await http.post("/generate_stream", json={"inputs": "Hi"})).text
    last = json.loads(text.removesuffix("\n\n").split("\n\n")[-1].removeprefix("data: "))
    assert last == {"error": "Broken.", "error_type": "generation"}


# --- what is asked of the engine ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "temperature", "has_seed"),
    [
        ({}, 0.0, False),
        ({"do_sample": False, "temperature": 1.0}, 0.0, False),
        ({"do_sample": True}, 1.0, True),
        ({"temperature": 0.5}, 0.5, True),
        ({"top_p": 0.9}, 1.0, True),
        ({"typical_p": 0.9}, 1.0, True),
        ({"top_k": 5, "do_sample": False}, 1.0, True),
        ({"seed": 3}, 0.0, False),
        ({"temperature": 0.0}, 0.0, True),
    ],
)
async def test_sampling_is_tgis(parameters: dict[str, Any], temperature: float, has_seed: bool) -> None:
    server = served("x")
    answer = await post(server, "/generate", parameters={**parameters, "details": True})
    sampling = server.engine.requests[0].sampling
    assert sampling.temperature == temperature
    assert sampling.max_tokens == 100
    assert (sampling.seed is not None) == has_seed
    assert answer["details"]["seed"] == sampling.seed


async def test_limits() -> None:
    server = served("x")
    response = await server.http.post(
        "/generate", json={"inputs": "abcdef", "parameters": {"truncate": 2, "max_time": 1.5, "details": True}}
    )
    [request] = server.engine.requests
    assert request.prompt_token_ids == tuple(b"ef")
    assert request.sampling.max_time_s == 1.5
    assert "x-inglenook-warnings" in response.headers
    for parameters in ({"truncate": 0}, {"max_time": 0}, {"typical_p": 0}):
        await post(server, "/generate", 422, parameters=parameters)


# --- errors and the rest --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "inputs"),
        ({"inputs": ""}, "inputs"),
        ({"inputs": 3}, "inputs"),
        ({"inputs": "x", "parameters": []}, "parameters"),
        ({"inputs": "x", "parameters": {"max_new_tokens": 0}}, "max_new_tokens"),
        ({"inputs": "x", "parameters": {"temperature": -1}}, "temperature"),
        ({"inputs": "x", "parameters": {"best_of": 2}}, "best_of"),
        ({"inputs": "x", "parameters": {"watermark": True}}, "watermark"),
        ({"inputs": "x", "parameters": {"adapter_id": "a"}}, "adapter_id"),
        ({"inputs": "x", "parameters": {"top_n_tokens": 99, "details": True}}, "top_n_tokens"),
        ({"inputs": "x", "parameters": {"grammar": {"type": "json"}}}, "grammar.value"),
        ({"inputs": "x", "parameters": {"grammar": {"type": "xml", "value": "x"}}}, "grammar.type"),
        ({"inputs": "x", "parameters": {"grammar": {"type": "regex", "value": "("}}}, "grammar.value"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/generate", "/generate_stream", "/models/m"])
async def test_a_wrong_request_is_a_422(path: str, body: Any, named: str) -> None:
    response = await served("x").http.post(path, json=body)
    assert response.status_code == 422
    error = schemas.check(response.json(), schemas.ERROR)
    assert named in error["error"] and error["error_type"] == "validation"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (EngineError("x"), 424, "generation"),
        (OverloadedError("x"), 429, "overloaded"),
        (UnavailableError("x"), 503, "unavailable"),
        (InglenookError("x"), 500, "incomplete_generation"),
        (RuntimeError("secret"), 500, "incomplete_generation"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/generate", "/models/tiny"])
async def test_errors(
    http: httpx.AsyncClient, backend: ScriptedBackend, path: str, error: Exception, status: int, kind: str
) -> None:
    backend.script = (error,)
    response = await http.post(path, json={"inputs": "Hi"})
    body = schemas.check(response.json(), schemas.ERROR)
    assert (response.status_code, body["error_type"]) == (status, kind)
    assert "secret" not in body["error"]
    assert ("estimated_time" in body) == (status == 503)


async def test_what_isnt_there(http: httpx.AsyncClient) -> None:
    response = await http.post("/models/unknown", json={"inputs": "Hi"})
    assert response.status_code == 404
    assert schemas.check(response.json(), schemas.ERROR)["error_type"] == "model_not_found"
    assert (await http.get("/generate")).status_code == 405
    schemas.check((await http.get("/generate")).json(), schemas.ERROR)
    assert "type" in (await http.get("/models/unknown")).json()["error"]  # OpenAI's route, OpenAI's shape


async def test_unknown_fields_are_told(http: httpx.AsyncClient) -> None:
    body = {
        "inputs": "Hi",
        "parameters": {"max_time": 5.0, "foo": 1, "watermark": False},
        "options": {"use_cache": True, "wait_for_model": True, "bar": 1},
        "baz": 1,
    }
    response = await http.post("/", json=body, headers={"x-use-cache": "0", "x-wait-for-model": "true"})
    assert response.headers["x-inglenook-warnings"] == "unknown fields ignored: parameters.foo, options.bar, baz"


async def test_info(http: httpx.AsyncClient) -> None:
    info = schemas.check((await http.get("/info")).json(), schemas.INFO)
    assert info["model_id"] == "tiny" and info["model_pipeline_tag"] == "text-generation"
    assert (info["max_input_tokens"], info["max_total_tokens"], info["version"]) == (511, 512, "1.2.3")


async def test_the_prompt_is_raw(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    await http.post("/generate", json={"inputs": "<|im_start|>user\nHi"})
    request = backend.requests[-1]
    assert isinstance(request, CompletionRequest)
    assert request.prompts == ("<|im_start|>user\nHi",) and request.model_defaulted == frozenset()
