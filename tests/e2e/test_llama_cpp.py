"""The llama.cpp server's routes with the real default model, and requests as its clients send them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures import llama_cpp_schemas as schemas
from fixtures.server_process import Server
from fixtures.tiny_folder import write_tiny_folder
from fixtures.tool_cases.vocabulary import byte_tokenizer

PROMPT = "Once upon a time"
QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")


def post(server: Server, path: str = "/completion", status: int = 200, **body: Any) -> Any:
    response = httpx.post(server.url + path, json=body, timeout=60)
    assert response.status_code == status, response.text
    return response.json()


def stream(server: Server, path: str = "/completion", **body: Any) -> list[dict[str, Any]]:
    text = httpx.post(server.url + path, json={**body, "stream": True}, timeout=60).text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def test_streams_join_to_the_whole_answer(server: Server) -> None:
    for options in ({"temperature": 0}, {"seed": 5}, {"seed": 5, "stop": [","]}, {"temperature": 0, "n_probs": 2}):
        body = {"prompt": PROMPT, "n_predict": 12, "return_tokens": True, **options}
        whole = schemas.check(post(server, **body), schemas.COMPLETION)
        events = stream(server, **body)
        assert schemas.check_events(events) == whole["content"]
        assert [token for event in events for token in event["tokens"]] == whole["tokens"]
        assert len(whole["tokens"]) == whole["tokens_predicted"] > 0
        last = events[-1]
        for key in ("stop_type", "stopping_word", "tokens_predicted", "tokens_evaluated", "prompt", "has_new_line"):
            assert last[key] == whole[key]
        told = [entry for event in events for entry in event.get("completion_probabilities", ())]
        assert told == whole.get("completion_probabilities", [])


def test_seeds(server: Server) -> None:
    body = {"prompt": PROMPT, "n_predict": 16, "temperature": 1.0}
    drawn = post(server, **body)
    seed = drawn["generation_settings"]["seed"]
    assert post(server, **body, seed=seed)["content"] == drawn["content"]
    assert post(server, **body, seed=3)["content"] == post(server, **body, seed=3)["content"]
    assert len({post(server, **body, seed=seed)["content"] for seed in range(4)}) > 1


def test_how_answers_end(server: Server) -> None:
    answer = post(server, prompt=PROMPT, n_predict=40, temperature=0, stop=["the", "a"])
    assert answer["stop_type"] == "word" and answer["stopping_word"] in ("the", "a")
    assert not re.search("the|a", answer["content"])
    assert post(server, prompt=PROMPT, n_predict=4)["stop_type"] == "limit"
    chat = "<|im_start|>user\nSay: yes<|im_end|>\n<|im_start|>assistant\n"
    answer = post(server, prompt=chat, n_predict=200, temperature=0)
    assert answer["stop_type"] == "eos" and answer["prompt"] == chat
    assert post(server, prompt=chat, n_predict=50, temperature=0, ignore_eos=True)["stop_type"] == "limit"
    full = post(server, prompt="word " * 8185, temperature=0, ignore_eos=True)
    assert full["stop_type"] == "limit" and full["truncated"]


def test_prompts_of_ids_and_texts_are_one(server: Server) -> None:
    ids = post(server, "/tokenize", content=PROMPT)["tokens"]
    body = {"n_predict": 8, "temperature": 0}
    text = post(server, prompt=PROMPT, **body)
    for prompt in (ids, [*ids[:2], " a", *ids[3:]], ["Once", *ids[1:]], [[*ids[:1], " upon a time"]]):
        answer = post(server, prompt=prompt, **body)
        assert (answer["content"], answer["prompt"]) == (text["content"], PROMPT)
        assert answer["tokens_evaluated"] == len(ids)
    both = post(server, prompt=[PROMPT, ids], **body)
    assert [(answer["index"], answer["content"]) for answer in both] == [(0, text["content"]), (1, text["content"])]
    assert "outside of the vocabulary" in post(server, status=400, prompt=[10**6])["error"]["message"]


def test_grammars(server: Server) -> None:
    answer = post(server, prompt="The answer is ", n_predict=20, grammar='root ::= "yes" | "no"')
    assert answer["content"] in ("yes", "no") and answer["stop_type"] == "eos"
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 9}},
        "required": ["n"],
    }
    schema["additionalProperties"] = False
    assert json.loads(post(server, prompt="JSON: ", n_predict=60, json_schema=schema)["content"])["n"] <= 9


def test_logit_bias(server: Server) -> None:
    body = {"prompt": PROMPT, "n_predict": 10, "temperature": 0}
    plain = post(server, **body)["content"]
    word = plain.split()[1]
    assert f" {word}" not in post(server, **body, logit_bias=[[f" {word}", False]])["content"]
    assert post(server, **body, logit_bias=[[" dog", 100]])["content"] == " dog" * 10


def test_the_cache(server: Server) -> None:
    body: dict[str, Any] = {"prompt": "A long text that is computed once. " * 20, "n_predict": 1, "temperature": 0}
    first = post(server, **{**body, "n_predict": 0})
    assert (first["content"], first["tokens_predicted"]) == ("", 0)
    again = post(server, **body)
    assert 0 < again["tokens_cached"] == again["timings"]["cache_n"] < again["tokens_evaluated"]
    fresh = post(server, **body, cache_prompt=False)
    assert (fresh["tokens_cached"], fresh["content"]) == (0, again["content"])


def test_a_closed_stream_frees_everything(server: Server) -> None:
    body = {"prompt": PROMPT, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{server.url}/completion", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        slots = schemas.check(httpx.get(f"{server.url}/slots").json(), schemas.SLOTS)
        assert (len(slots), [slot["is_processing"] for slot in slots].count(True)) == (64, 1)
    server.wait_until_idle()
    assert not any(slot["is_processing"] for slot in httpx.get(f"{server.url}/slots").json())


def test_props(server: Server) -> None:
    props = schemas.check(httpx.get(f"{server.url}/props").json(), schemas.PROPS)
    assert props["default_generation_settings"]["n_ctx"] == 8192 and props["total_slots"] == 64
    assert props["eos_token"] == "<|im_end|>" and "<|im_start|>" in props["chat_template"]
    settings = props["default_generation_settings"]["params"]
    answered = post(server, prompt=PROMPT, n_predict=1)["generation_settings"]
    changed = {name for name in settings if settings[name] != answered[name]}
    assert changed == {"seed", "n_predict", "max_tokens"}


def test_a_long_prompt_is_refused(server: Server) -> None:
    error = post(server, status=400, prompt="word " * 9000)["error"]
    assert error["type"] == "exceed_context_size_error" and "8192" in error["message"]


def test_the_default_model_has_no_tokens_for_infill(server: Server) -> None:
    error = post(server, "/infill", 501, input_prefix="a", input_suffix="b")["error"]
    assert (error["code"], error["type"]) == (501, "not_supported_error")


# --- as clients send them -------------------------------------------------------------------------


def test_continue(server: Server) -> None:
    """Its provider llama.cpp: only what the user has set is there; the text is the pieces' content."""
    options = {"n_predict": 8, "frequency_penalty": 0, "presence_penalty": 0, "mirostat": 0, "stop": ["\n\n"]}
    events = stream(server, prompt=PROMPT, **options, top_k=40, top_p=0.9, temperature=0)
    assert "".join(event["content"] for event in events if event["content"])


def test_llama_cpp_agent(server: Server) -> None:
    """All of its settings, with a grammar; it takes the lines of a stream for JSON behind `data:`."""
    body = {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.05,
        "n_predict": 8,
        "n_keep": 0,
        "stream": True,
        "tfs_z": 1.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.1,
        "repeat_last_n": -1,
        "penalize_nl": False,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "penalty_prompt": None,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "cache_prompt": True,
        "seed": -1,
        "ignore_eos": False,
        "samplers": ["top_k", "tfs_z", "typical_p", "top_p", "min_p", "temperature"],
        "prompt": PROMPT,
        "grammar": 'root ::= " " [a-z]+',
        "mirostat": 0,
        "stop": None,
    }
    texts = []
    with httpx.stream("POST", f"{server.url}/completion", json=body) as response:
        assert response.status_code == 200
        texts = [json.loads(line.replace("data:", ""))["content"] for line in response.iter_lines() if line]
    assert re.fullmatch(" [a-z]+", "".join(texts))


LLAMA_VIM = {
    "input_prefix": "def double(x):\n",
    "input_suffix": "\n\nprint(double(2))\n",
    "input_extra": [{"text": "import os\n", "time": [1, 2], "filename": "a.py"}],
    "prompt": "    return ",
    "n_predict": 16,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 5000,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/prompt_per_token_ms",
        "timings/prompt_per_second",
        "timings/predicted_n",
        "timings/predicted_ms",
        "timings/predicted_per_token_ms",
        "timings/predicted_per_second",
        "truncated",
        "tokens_cached",
    ],
}


@pytest.fixture(scope="module")
def middle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with a vocabulary to fill in the middle."""
    tokenizer = byte_tokenizer(QWEN)
    folder = write_tiny_folder(tmp_path_factory.mktemp("models") / "middle", vocab_size=tokenizer.vocab_size)
    tokenizer._backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end_of_turn|>"}))
    return folder


def test_llama_vim(serve: Callable[..., Server], middle_folder: Path) -> None:
    server = serve(str(middle_folder), "--max-model-len", "512")
    warming = {
        **{"input_prefix": "", "input_suffix": "", "input_extra": LLAMA_VIM["input_extra"], "prompt": ""},
        **{"n_predict": 0, "temperature": 0.0, "stream": False, "samplers": [], "cache_prompt": True},
        **{"t_max_prompt_ms": 1, "t_max_predict_ms": 1, "response_fields": [""]},
    }
    assert post(server, "/infill", **warming) == {}
    answer = post(server, "/infill", **LLAMA_VIM)
    assert answer.keys() == set(LLAMA_VIM["response_fields"])  # type: ignore[call-overload]
    assert answer["timings/predicted_n"] <= 16 and answer["tokens_cached"] >= 32
    assert post(server, "/infill", **LLAMA_VIM)["content"] == answer["content"]
    whole = post(server, "/infill", **{**LLAMA_VIM, "response_fields": []})
    assert whole["prompt"] == (
        "<|repo_name|>myproject\n<|file_sep|>a.py\nimport os\n<|file_sep|>filename\n"
        "<|fim_prefix|>def double(x):\n    return <|fim_suffix|>\n\nprint(double(2))\n<|fim_middle|>"
    )
    assert (
        "".join(event["content"] for event in stream(server, "/infill", **{**LLAMA_VIM, "response_fields": []}))
        == (answer["content"])
    )
    long = {**LLAMA_VIM, "input_prefix": "p" * 2000, "input_suffix": "s" * 2000, "response_fields": []}
    response = httpx.post(f"{server.url}/infill", json=long)
    assert response.json()["tokens_evaluated"] == 512 - 16
    assert "at the beginning" in response.headers["x-inglenook-warnings"]


def test_the_pages_example(server: Server) -> None:
    page = (Path(__file__).parents[2] / "docs" / "llama-cpp.md").read_text()
    [block] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block.replace("http://127.0.0.1:8000", server.url), names)
    assert names["answer"]["tokens_predicted"] <= 32
