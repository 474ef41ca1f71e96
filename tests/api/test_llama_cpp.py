"""The llama.cpp server's own routes over an engine that plays texts: exact shapes, streams, errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fixtures import llama_cpp_schemas as schemas
from fixtures.scripted_engine import LOGPROB
from fixtures.served import Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.config import ServerSettings
from inglenook.errors import ContextLengthError, EngineError, InglenookError, OverloadedError, UnavailableError
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.types import Delta, ModelCard, ModelDetails

if TYPE_CHECKING:
    from conftest import ScriptedBackend

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")


def served(*texts: str, names: tuple[str, ...] = ()) -> Served:
    return serve(byte_tokenizer(names), list(texts))


async def post(server: Served, path: str = "/completion", status: int = 200, **body: Any) -> Any:
    body = {"prompt": "Say: ", **body} if path == "/completion" else body
    response = await server.http.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


async def events(server: Served, path: str = "/completion", **body: Any) -> list[dict[str, Any]]:
    body = {"prompt": "Say: ", **body} if path == "/completion" else body
    response = await server.http.post(path, json={**body, "stream": True})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("}\n\n") and "[DONE]" not in response.text
    return [json.loads(event.removeprefix("data: ")) for event in response.text.split("\n\n")[:-1]]


def with_card(backend: ScriptedBackend, max_model_len: int = 512, **fields: Any) -> httpx.AsyncClient:
    backend.cards = (ModelCard("tiny", 0, max_model_len, "hub/tiny", **fields),)
    app = create_app(Router([backend]), ServerSettings(), version="1.2.3")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def warnings(response: httpx.Response) -> str:
    return response.headers.get("x-inglenook-warnings", "")


# --- whole answers --------------------------------------------------------------------------------


async def test_a_whole_answer() -> None:
    answer = schemas.check(await post(served("héllo\n")), schemas.COMPLETION)
    settings, timings = answer.pop("generation_settings"), answer.pop("timings")
    assert answer == {
        "index": 0,
        "content": "héllo\n",
        "tokens": [],
        "id_slot": -1,
        "stop": True,
        "model": "m",
        "tokens_predicted": 8,
        "tokens_evaluated": 5,
        "prompt": "Say: ",
        "has_new_line": True,
        "truncated": False,
        "stop_type": "eos",
        "stopping_word": "",
        "tokens_cached": 0,
    }
    assert (settings["temperature"], settings["top_k"], settings["top_p"], settings["min_p"]) == (0.8, 40, 0.95, 0.05)
    assert (settings["n_predict"], settings["n_ctx"]) == (-1, 100_000)
    assert 0 <= settings["seed"] < 2**32 - 1
    assert (timings["prompt_n"], timings["predicted_n"]) == (5, 8)


async def test_how_it_ended() -> None:
    answer = await post(served("one two"), stop=["tw", ""], return_tokens=True)
    assert (answer["content"], answer["stop_type"], answer["stopping_word"]) == ("one ", "word", "tw")
    assert bytes(answer["tokens"]) == b"one tw" and answer["tokens_predicted"] == 6
    answer = await post(served("one two"), n_predict=3)
    assert (answer["content"], answer["stop_type"], answer["truncated"]) == ("one", "limit", False)
    answer = await post(served("one two"), max_tokens=3)
    assert answer["content"] == "one"
    answer = await post(served("one two"), n_predict=0)
    assert (answer["content"], answer["tokens_predicted"], answer["stop_type"]) == ("", 0, "limit")


async def test_lines() -> None:
    text = "one\n    two\n  three\n    four"
    for step in (1, 4):
        server = serve(byte_tokenizer(()), [text], step=step)
        answer = await post(server, n_indent=4, return_tokens=True)
        assert (answer["content"], answer["stop_type"]) == ("one\n    two\n  ", "limit")
        assert answer["tokens_predicted"] == len(answer["tokens"])
        assert len(server.engine.cancelled) == 1
        told = await events(serve(byte_tokenizer(()), [text], step=step), n_indent=4)
        assert schemas.check_events(told) == answer["content"]
    assert (await post(served(text), n_indent=2))["content"] == text
    assert (await post(served(text), n_indent=9, n_probs=1))["content"] == "one\n    "
    assert (await post(served(text), n_indent=3, stop=["four"]))["stopping_word"] == ""


async def test_time_counts_from_the_first_line_break_on() -> None:
    server = served("one " * 200 + "\ntwo" + " three" * 200)
    request = (await post(server, t_max_predict_ms=1))["content"]
    assert request.startswith("one " * 200 + "\n") and len(request) < 200 * 10


async def test_a_full_context_is_told(backend: ScriptedBackend) -> None:
    http = with_card(backend, max_model_len=3)
    for text, is_full in (("abc", True), ("ab", False)):
        backend.script = (*(Delta(0, c, (ord(c),)) for c in text), Delta(0, "", finish_reason="length"))
        assert (await http.post("/completion", json={"prompt": "x"})).json()["truncated"] is is_full
    backend.script = (Delta(0, "abc", (1, 2, 3), finish_reason="stop"),)
    assert (await http.post("/completion", json={"prompt": "x"})).json()["truncated"] is False


async def test_probabilities() -> None:
    answer = schemas.check(await post(served("é"), n_probs=1), schemas.COMPLETION)
    first = {"id": 195, "token": "", "bytes": [195], "logprob": LOGPROB}
    assert answer["completion_probabilities"][0] == {**first, "top_logprobs": [first]}
    assert len(answer["completion_probabilities"]) == 2
    pieces = (await events(served("ab"), n_probs=1))[:2]
    assert [piece["completion_probabilities"][0]["token"] for piece in pieces] == ["a", "b"]


async def test_response_fields() -> None:
    fields = ["content", "timings/prompt_n", "generation_settings/n_predict", "nothing", "timings/x", "content/x"]
    body = {"n_predict": 2, "response_fields": fields}
    expected = {"content": "he", "timings/prompt_n": 5, "generation_settings/n_predict": 2}
    assert await post(served("hello"), **body) == expected
    assert (await events(served("hello"), **body))[-1] == {**expected, "content": ""}
    assert await post(served("hello"), response_fields=[""]) == {}


@pytest.mark.parametrize(
    ("prompt", "texts", "token_ids"),
    [
        ("Hi", ["Hi"], [b"Hi"]),
        ([72, 105], ["Hi"], [b"Hi"]),
        ([72, "i", 33, "!?"], ["Hi!!?"], [b"Hi!!?"]),
        (["H", 105.0], ["Hi"], [b"Hi"]),
        ({"prompt_string": "Hi"}, ["Hi"], [b"Hi"]),
        (["one"], ["one"], [b"one"]),
        (["one", "two"], ["one", "two"], [b"one", b"two"]),
        (
            ["one", [72, 105], ["H", 105], {"prompt_string": "x"}],
            ["one", "Hi", "Hi", "x"],
            [b"one", b"Hi", b"Hi", b"x"],
        ),
    ],
)
async def test_prompts(prompt: Any, texts: list[str], token_ids: list[bytes]) -> None:
    server = served("ok")
    answer = await post(server, prompt=prompt)
    answers = answer if isinstance(answer, list) else [answer]
    assert [(each["index"], each["prompt"], each["content"]) for each in answers] == [
        (index, text, "ok") for index, text in enumerate(texts)
    ]
    assert [bytes(request.prompt_token_ids) for request in server.engine.requests] == token_ids
    told = await events(served("ok"), prompt=prompt)
    assert sorted(event["index"] for event in told if event["stop"]) == list(range(len(texts)))


# --- streams --------------------------------------------------------------------------------------


async def test_a_stream() -> None:
    assert [(await events(served(text)))[-1]["has_new_line"] for text in ("a\nb", "ab")] == [True, False]
    told = await events(served("hé"), prompt="ab")
    assert schemas.check_events(told) == "hé"
    same = {"index": 0, "stop": False, "id_slot": -1, "tokens_evaluated": 2}
    assert told[:-1] == [
        {**same, "content": "h", "tokens": [104], "tokens_predicted": 1},
        {**same, "content": "é", "tokens": [195, 169], "tokens_predicted": 3},
        {**same, "content": "", "tokens": [256], "tokens_predicted": 4},
    ]
    assert told[-1]["stop_type"] == "eos" and told[-1]["prompt"] == "ab"
    whole = await post(served("hé"), prompt="ab", return_tokens=True)
    assert whole["tokens"] == [token for event in told for token in event["tokens"]]


async def test_timings_of_every_piece() -> None:
    told = await events(served("abc"), timings_per_token=True)
    assert [event["timings"]["predicted_n"] for event in told] == [1, 2, 3, 4, 4]
    assert all("timings" not in event for event in (await events(served("abc")))[:-1])


async def test_a_stream_that_breaks_off(http: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.script = (Delta(0, "Hel", (1,)), EngineError("It broke."))
    text = (await http.post("/completion", json={"prompt": "x", "stream": True})).text
    last = json.loads(text.split("\n\n")[-2].removeprefix("data: "))
    assert schemas.check(last, schemas.ERROR)["error"] == {"code": 500, "message": "It broke.", "type": "server_error"}


# --- options --------------------------------------------------------------------------------------


async def test_options_become_sampling() -> None:
    server = served("x")
    await post(
        server,
        temperature=-1,
        top_k=-5,
        top_p=0.5,
        min_p=0.1,
        typical_p=0.9,
        repeat_penalty=1.2,
        presence_penalty=0.3,
        frequency_penalty=0.4,
        seed=5,
        ignore_eos=True,
        n_probs=3,
        t_max_predict_ms=500,
    )
    sampling = server.engine.requests[0].sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.0, 0, 0.5, 0.1)
    assert (sampling.typical_p, sampling.repetition_penalty) == (0.9, 1.2)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.seed) == (0.3, 0.4, 5)
    assert sampling.ignore_eos and sampling.logprobs == 3
    assert sampling.max_lines_s == 0.5


@pytest.mark.parametrize(
    ("given", "biases"),
    [
        ([[104, 2], ["ab", -0.5], ["b", -1], [104, 1]], {104: 3, 97: -0.5, 98: -1.5}),
        ([[104, False]], {104: -100}),
        ({"104": 1.5, "a": False}, {104: 1.5, 97: -100}),
        ([[104, -90], [104, -10]], {104: -100}),
        ([], {}),
        (None, {}),
    ],
)
async def test_logit_bias(given: Any, biases: dict[int, float]) -> None:
    server = served("x")
    await post(server, logit_bias=given)
    assert server.engine.requests[0].sampling.logit_bias == biases


async def test_seeds() -> None:
    for seed in (-1, 2**32 - 1, None):
        server = served("x")
        settings = (await post(server, seed=seed))["generation_settings"]
        assert server.engine.requests[0].sampling.seed == settings["seed"] < 2**32 - 1
    assert (await post(served("x"), seed=7))["generation_settings"]["seed"] == 7


async def test_a_sampler_that_is_not_named_is_not_used() -> None:
    body = {"repeat_penalty": 1.2, "temperature": 0.7, "min_p": 0.1, "typical_p": 0.9}
    server = served("x")
    response = await server.http.post("/completion", json={"prompt": "x", **body, "samplers": ["top_k", "top_p"]})
    sampling = server.engine.requests[-1].sampling
    assert (sampling.top_k, sampling.top_p, sampling.min_p, sampling.typical_p) == (40, 0.95, 0.0, 1.0)
    assert (sampling.repetition_penalty, sampling.temperature) == (1.0, 1.0)
    assert response.json()["generation_settings"]["samplers"] == ["top_k", "top_p"]
    assert warnings(response) == ""
    for names in (["typical_p", "temperature", "new"], "yt?"):
        response = await server.http.post("/completion", json={"prompt": "x", **body, "samplers": names})
        sampling = server.engine.requests[-1].sampling
        assert (sampling.typical_p, sampling.temperature, sampling.top_k) == (0.9, 0.7, 0)
        assert "samplers." in warnings(response) and "in this order: temperature, typ_p" in warnings(response)
    response = await server.http.post("/completion", json={"prompt": "x", "samplers": ["top_k", "top_p", "infill"]})
    assert server.engine.requests[-1].sampling.temperature == 0
    assert "infill" in warnings(response)
    await post(server, samplers=[], n_predict=0)


async def test_the_makers_defaults_count_more_than_llama_cpps(backend: ScriptedBackend) -> None:
    details = ModelDetails(sampling={"temperature": 0.2, "top_k": 7, "repetition_penalty": 1.1})
    http = with_card(backend, details=details)

    async def settings_of(**body: Any) -> dict[str, Any]:
        answer = await http.post("/completion", json={"prompt": "x", **body})
        settings: dict[str, Any] = answer.json()["generation_settings"]
        return settings

    settings = await settings_of()
    assert (settings["temperature"], settings["top_k"], settings["repeat_penalty"]) == (0.2, 7, 1.1)
    assert backend.requests[-1].model_defaulted >= {"temperature", "top_k", "repetition_penalty"}
    settings = await settings_of(temperature=0.5, repeat_penalty=1.0)
    assert (settings["temperature"], settings["top_k"], settings["repeat_penalty"]) == (0.5, 7, 1.0)
    assert backend.requests[-1].model_defaulted.isdisjoint({"temperature", "repetition_penalty"})
    settings = await settings_of(samplers=["top_p"])
    assert (settings["temperature"], settings["top_k"], settings["repeat_penalty"]) == (1.0, 0, 1.0)


async def test_a_penalty_window() -> None:
    server = served("x")
    body = {"prompt": "x", "repeat_penalty": 1.1}
    assert "all tokens" in warnings(await server.http.post("/completion", json={**body, "repeat_last_n": 64}))
    assert warnings(await server.http.post("/completion", json={**body, "repeat_last_n": -1})) == ""
    assert warnings(await server.http.post("/completion", json={"prompt": "x", "repeat_last_n": 64})) == ""
    await server.http.post("/completion", json={**body, "presence_penalty": 1, "repeat_last_n": 0})
    sampling = server.engine.requests[-1].sampling
    assert (sampling.repetition_penalty, sampling.presence_penalty) == (1.0, 0.0)


async def test_a_cache_of_its_own() -> None:
    server = served("x")
    await post(server)
    await post(server, cache_prompt=False)
    await post(server, cache_prompt=False)
    salts = [request.cache_salt for request in server.engine.requests]
    assert salts[0] == "" and len(set(salts)) == 3


async def test_grammars() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for body in (
        {"json_schema": schema},
        {"json_schema": {}},
        {"json_schema": json.dumps(schema), "grammar": ""},
        {"grammar": 'root ::= "{" ws "\\"a\\"" ":" ws [0-9] "}"\nws ::= " "?'},
        {"grammar": 'root ::= "{\\"a\\": 1}"', "json_schema": {"type": "string"}},
    ):
        assert (await post(served('{"a": 1}'), **body))["content"] == '{"a": 1}'
    refused = await post(served("hello"), "/completion", 500, json_schema=schema)
    assert refused["error"]["type"] == "server_error"
    refused = await post(served("hello"), "/completion", 400, grammar="root ::= nothing")
    assert "grammar" in refused["error"]["message"]


async def test_the_chat_of_llama_vscode() -> None:
    """Its request for an edit, at OpenAI's route."""
    body = {
        "messages": [{"role": "system", "content": "You are an expert coder."}, {"role": "user", "content": "Hi"}],
        **{"stream": False, "cache_prompt": True, "samplers": "edkypmxt", "temperature": 0.8, "dynatemp_range": 0},
        **{"dynatemp_exponent": 1, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "typical_p": 1, "xtc_probability": 0},
        **{"xtc_threshold": 0.1, "repeat_last_n": 64, "repeat_penalty": 1, "presence_penalty": 0},
        **{"frequency_penalty": 0, "dry_multiplier": 0, "dry_base": 1.75, "dry_allowed_length": 2},
        **{"dry_penalty_last_n": -1, "max_tokens": -1, "timings_per_token": False},
    }
    server = served("an edit")
    answer = (await server.http.post("/chat/completions", json=body)).json()
    assert answer["choices"][0]["message"]["content"] == "an edit"
    assert answer["warnings"] == ["samplers are applied in this order: temperature, min_p, top_k, top_p."]
    assert server.engine.requests[0].sampling.max_tokens == 100_000 - answer["usage"]["prompt_tokens"]


# --- infill ---------------------------------------------------------------------------------------

AROUND = {"input_prefix": "def f(x):\n", "input_suffix": "\n    return y\n", "prompt": "    y"}


async def test_infill() -> None:
    server = served(" = x<|fim_pad|>nothing", names=QWEN)
    answer = schemas.check(await post(server, "/infill", **AROUND), schemas.COMPLETION)
    assert (answer["content"], answer["stop_type"]) == (" = x", "eos")
    assert answer["prompt"] == "<|fim_prefix|>def f(x):\n    y<|fim_suffix|>\n    return y\n<|fim_middle|>"
    server = served(" = x<|fim_pad|>nothing", names=QWEN)
    assert schemas.check_events(await events(server, "/infill", **AROUND)) == " = x"


async def test_other_files_of_an_infill() -> None:
    extra = [{"filename": "a.py", "text": "A", "time": [1, 2]}, {"text": "B"}]
    answer = await post(served("x", names=QWEN), "/infill", input_prefix="", input_suffix="", input_extra=extra)
    assert answer["prompt"] == (
        "<|repo_name|>myproject\n<|file_sep|>a.py\nA<|file_sep|>tmp\nB<|file_sep|>filename\n"
        "<|fim_prefix|><|fim_suffix|><|fim_middle|>"
    )


async def test_an_infill_is_cut_to_the_context() -> None:
    server = served("x", names=QWEN)
    long = {"input_prefix": "p" * 90_000, "input_suffix": "s" * 90_000, "n_predict": 100}
    response = await server.http.post("/infill", json=long)
    [request] = server.engine.requests
    assert len(request.prompt_token_ids) == 100_000 - 100
    text = response.json()["prompt"]
    num_around = 100_000 - 100 - 3
    assert text.count("s") - 1 - text.count("<|fim_suffix|>") <= num_around // 4 + 2
    assert "at the beginning, " in warnings(response) and "at the end" in warnings(response)


async def test_a_model_that_cannot_infill() -> None:
    refused = await post(served("x"), "/infill", 501, **AROUND)
    assert refused["error"]["type"] == "not_supported_error"
    assert refused["error"]["message"].startswith("Infill is not supported by the model 'm'")


# --- the server -----------------------------------------------------------------------------------


async def test_props_and_slots(backend: ScriptedBackend) -> None:
    details = ModelDetails(template="{{ x }}", special_tokens={"bos_token": "<s>"}, is_drafted=True)
    http = with_card(backend, details=details, max_running=2)
    props = schemas.check((await http.get("/props")).json(), schemas.PROPS)
    assert (props["total_slots"], props["model_alias"], props["model_path"]) == (2, "tiny", "hub/tiny")
    assert (props["chat_template"], props["bos_token"], props["eos_token"]) == ("{{ x }}", "<s>", "")
    assert props["default_generation_settings"]["n_ctx"] == 512
    assert props["default_generation_settings"]["params"]["seed"] == 2**32 - 1
    assert (await http.get("/v1/props?model=tiny")).json() == props
    assert (await http.get("/props?model=other")).status_code == 404
    for num_running in (0, 1, 2, 3):
        backend.num_open = num_running
        slots = schemas.check((await http.get("/slots")).json(), schemas.SLOTS)
        assert [slot["is_processing"] for slot in slots] == [num_running > 0, num_running > 1]
        assert all(slot["speculative"] and slot["n_ctx"] == 512 for slot in slots)
        status = (await http.get("/slots?fail_on_no_slot=1")).status_code
        assert status == (503 if num_running >= 2 else 200)
    assert (await http.get("/lora-adapters")).json() == []
    assert (await http.get("/v1/health")).json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/props", "/slots/0?action=save", "/lora-adapters"])
async def test_what_cannot_be_changed(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(path, json=[])
    assert answer.status_code == 501
    assert schemas.check(answer.json(), schemas.ERROR)["error"]["type"] == "not_supported_error"


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (EngineError("x"), 500, "server_error"),
        (OverloadedError("x"), 429, "rate_limit_error"),
        (UnavailableError("x"), 503, "unavailable_error"),
        (ContextLengthError("x"), 400, "exceed_context_size_error"),
    ],
)
async def test_errors(
    http: httpx.AsyncClient, backend: ScriptedBackend, error: InglenookError, status: int, kind: str
) -> None:
    backend.script = (error,)
    for body in ({"prompt": "x"}, {"prompt": "x", "stream": True}):
        answer = await http.post("/completion", json=body)
        assert answer.status_code == status
        assert schemas.check(answer.json(), schemas.ERROR)["error"] == {"code": status, "message": "x", "type": kind}


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({}, "prompt is missing"),
        ({"prompt": []}, "prompt is an empty list"),
        ({"prompt": [[]]}, "prompt[0] is an empty list"),
        ({"prompt": [1, True]}, "prompt[1]"),
        ({"prompt": [1, -1]}, "-1 is not a token id"),
        ({"prompt": ["a", None]}, "prompt[1]"),
        ({"prompt": {"prompt_string": "x", "multimodal_data": ["aa"]}}, "prompt.multimodal_data"),
        ({"prompt": "x", "n_probs": 21}, "n_probs is 21"),
        ({"prompt": "x", "logit_bias": "a"}, "logit_bias"),
        ({"prompt": "x", "logit_bias": [[1]]}, "logit_bias[0]"),
        ({"prompt": "x", "logit_bias": [[1, True]]}, "logit_bias[0][1]"),
        ({"prompt": "x", "logit_bias": [["a", 200]]}, "logit_bias"),
        ({"prompt": "x", "mirostat": 2}, "mirostat is known to this server but not supported"),
        ({"prompt": "x", "dry_multiplier": 0.8}, "dry_multiplier"),
        ({"prompt": "x", "lora": [{"id": 0, "scale": 0.5}]}, "lora"),
        ({"prompt": "x", "post_sampling_probs": True}, "post_sampling_probs"),
        ({"prompt": "x", "return_progress": True}, "return_progress"),
        ({"prompt": "x", "n_predict": 1, "max_tokens": 2}, "two names of one field"),
    ],
)
async def test_refusals(body: dict[str, Any], part: str) -> None:
    answer = await served("x").http.post("/completion", json=body)
    assert answer.status_code == 400
    error = schemas.check(answer.json(), schemas.ERROR)["error"]
    assert part in error["message"] and error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"input_suffix": ""}, "input_prefix is missing"),
        ({"input_prefix": ""}, "input_suffix is missing"),
        ({"input_prefix": "", "input_suffix": "", "prompt": [1]}, "prompt: expected a string"),
        ({"input_prefix": "", "input_suffix": "", "input_extra": {}}, "input_extra: expected a list"),
        ({"input_prefix": "", "input_suffix": "", "input_extra": ["a"]}, "input_extra[0]"),
        ({"input_prefix": "", "input_suffix": "", "input_extra": [{"text": 1}]}, "input_extra[0].text"),
    ],
)
async def test_refusals_of_infill(body: dict[str, Any], part: str) -> None:
    answer = await served("x", names=QWEN).http.post("/infill", json=body)
    assert answer.status_code == 400 and part in answer.json()["error"]["message"]


async def test_other_errors_have_the_shape_too(http: httpx.AsyncClient) -> None:
    for method, path, status in (("GET", "/completion", 405), ("POST", "/slots", 405), ("GET", "/props/x", 404)):
        answer = await http.request(method, path)
        assert answer.status_code == status
        assert schemas.check(answer.json(), schemas.ERROR)["error"]["code"] == status
    answer = await http.post("/completion", content=b"{")
    assert schemas.check(answer.json(), schemas.ERROR)["error"]["code"] == 400
    answer = await http.post("/completion", json={"prompt": "x", "model": "other"})
    assert answer.json()["error"]["type"] == "not_found_error"


async def test_names_that_nobody_knows() -> None:
    server = served("x", names=QWEN)
    neutral = {"mirostat": 0, "mirostat_tau": 5.0, "dry_base": 1.75, "tfs_z": 1.0, "penalty_prompt": None, "lora": []}
    response = await server.http.post("/completion", json={"prompt": "x", "new_thing": 1, "n_keep": -1, **neutral})
    assert warnings(response) == "unknown fields ignored: new_thing"
    body = {"input_prefix": "", "input_suffix": "", "input_extra": [{"text": "a", "x": 1}]}
    response = await server.http.post("/infill", json=body)
    assert warnings(response) == "unknown fields ignored: input_extra[0].x"


async def test_completions_stay_openais() -> None:
    answer = await served("x").http.post("/completions", json={"prompt": "x", "n_predict": 1})
    assert answer.json()["object"] == "text_completion"
