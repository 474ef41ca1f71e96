"""huggingface_hub's InferenceClient against a server with the real default model."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient, TextGenerationOutput, TextGenerationStreamOutput
from huggingface_hub.errors import HfHubHTTPError, ValidationError

from fixtures import huggingface_schemas as schemas
from fixtures.server_process import Server, start_server

PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def hub(server: Server) -> InferenceClient:
    return InferenceClient(base_url=server.url)


def test_text_generation(hub: InferenceClient, server: Server) -> None:
    text = hub.text_generation(PROMPT, max_new_tokens=12, return_full_text=False)
    assert text and not text.startswith(PROMPT)
    assert hub.text_generation(PROMPT, max_new_tokens=12) == PROMPT + text  # TGI's default at the root
    assert "".join(hub.text_generation(PROMPT, max_new_tokens=12, stream=True)) == text
    for url in ("/generate", "/models/smollm2:135m", "/models/smollm2%3A135m", "/v1"):
        client = InferenceClient(server.url + url)
        assert client.text_generation(PROMPT, max_new_tokens=12, return_full_text=False) == text
    client = InferenceClient(server.url + "/generate_stream")
    assert "".join(client.text_generation(PROMPT, max_new_tokens=12, stream=True)) == text


def test_details(hub: InferenceClient) -> None:
    whole = hub.text_generation(PROMPT, max_new_tokens=8, details=True, return_full_text=False, top_n_tokens=3)
    assert isinstance(whole, TextGenerationOutput) and whole.details is not None
    assert "".join(token.text for token in whole.details.tokens) == whole.generated_text
    assert (whole.details.finish_reason, whole.details.generated_tokens) == ("length", 8)
    assert whole.details.top_tokens is not None and all(len(top) == 3 for top in whole.details.top_tokens)
    pieces = list(hub.text_generation(PROMPT, max_new_tokens=8, details=True, return_full_text=False, stream=True))
    assert all(isinstance(piece, TextGenerationStreamOutput) for piece in pieces)
    assert [piece.token.id for piece in pieces] == [token.id for token in whole.details.tokens]
    assert [piece.token.logprob for piece in pieces] == [token.logprob for token in whole.details.tokens]
    assert pieces[-1].generated_text == whole.generated_text
    assert pieces[-1].details is not None and pieces[-1].details.input_length == 4


def test_details_of_the_prompt(hub: InferenceClient, server: Server) -> None:
    options = {"max_new_tokens": 2, "details": True, "decoder_input_details": True, "return_full_text": False}
    whole = hub.text_generation(PROMPT, **options)  # type: ignore[call-overload]
    prefill = whole.details.prefill
    assert "".join(token.text for token in prefill) == PROMPT
    assert prefill[0].logprob is None and all(token.logprob < 0 for token in prefill[1:])
    tokens = httpx.post(f"{server.url}/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    assert [token.id for token in prefill] == tokens
    cut = hub.text_generation(PROMPT, truncate=2, **options)  # type: ignore[call-overload]
    assert [token.id for token in cut.details.prefill] == tokens[-2:]
    assert "".join(token.text for token in cut.details.prefill) == " a time"
    best = hub.text_generation(PROMPT, best_of=2, do_sample=True, **options)  # type: ignore[call-overload]
    assert best.details.prefill == best.details.best_of_sequences[0].prefill == prefill
    with pytest.raises(ValidationError, match="decoder_input_details"):
        list(hub.text_generation(PROMPT, stream=True, **options))  # type: ignore[call-overload]


def test_the_end_of_text_is_a_token_without_text(hub: InferenceClient) -> None:
    prompt = "<|im_start|>user\nSay: yes<|im_end|>\n<|im_start|>assistant\n"
    whole = hub.text_generation(prompt, max_new_tokens=200, details=True, return_full_text=False)
    assert whole.details is not None and whole.details.finish_reason == "eos_token"
    assert whole.details.tokens[-1].special and whole.details.tokens[-1].text == ""
    assert "".join(hub.text_generation(prompt, max_new_tokens=200, stream=True)) == whole.generated_text


def test_every_parameter(hub: InferenceClient) -> None:
    answers = [
        hub.text_generation(
            PROMPT,
            adapter_id=None,
            best_of=2,
            details=True,
            do_sample=True,
            frequency_penalty=0.1,
            max_new_tokens=6,
            repetition_penalty=1.03,
            return_full_text=False,
            seed=1,
            stop=["x", "\n"],
            temperature=0.8,
            top_k=10,
            top_n_tokens=2,
            top_p=0.95,
            truncate=100,
            typical_p=0.95,
            watermark=False,
        )
        for _ in range(2)
    ]
    assert answers[0] == answers[1]  # the same seed
    assert answers[0].details is not None and answers[0].details.seed in (1, 2)
    assert answers[0].details.best_of_sequences is not None and len(answers[0].details.best_of_sequences) == 1


def test_grammar(hub: InferenceClient) -> None:
    schema = {"type": "object", "properties": {"animals": {"type": "integer", "maximum": 5}}, "required": ["animals"]}
    answer = hub.text_generation(
        "I saw a puppy and a cat. As JSON: ",
        grammar={"type": "json", "value": schema},  # type: ignore[arg-type]
        max_new_tokens=50,
        return_full_text=False,
    )
    assert json.loads(answer)["animals"] <= 5
    answer = hub.text_generation(
        PROMPT,
        grammar={"type": "regex", "value": "[0-9]{3}"},  # type: ignore[arg-type]
        return_full_text=False,
    )
    assert re.fullmatch("[0-9]{3}", answer)


@pytest.mark.parametrize("path", ["", "/v1", "/models/smollm2:135m"])
def test_chat_completion(server: Server, path: str) -> None:
    client = InferenceClient(server.url + path)
    answer = client.chat_completion(MESSAGES, max_tokens=8, temperature=0)
    text = answer.choices[0].message.content
    pieces = client.chat_completion(MESSAGES, max_tokens=8, temperature=0, stream=True)
    assert text and "".join(piece.choices[0].delta.content or "" for piece in pieces) == text
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    held = client.chat_completion(
        MESSAGES,
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},  # type: ignore[arg-type]
    )
    assert json.loads(held.choices[0].message.content or "").keys() == {"a"}


def test_chat_completion_at_a_model_that_isnt_there(server: Server) -> None:
    with pytest.raises(HfHubHTTPError, match="404"):
        InferenceClient(server.url + "/models/no/such").chat_completion(MESSAGES)


def test_async(server: Server) -> None:
    async def run() -> tuple[str, str]:
        client = AsyncInferenceClient(base_url=server.url)
        whole = await client.text_generation(PROMPT, max_new_tokens=8, return_full_text=False)
        return whole, "".join([p async for p in await client.text_generation(PROMPT, max_new_tokens=8, stream=True)])

    whole, streamed = asyncio.run(run())
    assert whole == streamed


def test_errors(hub: InferenceClient, server: Server) -> None:
    with pytest.raises(ValidationError, match="temperature"):
        hub.text_generation(PROMPT, temperature=-1.0)
    with pytest.raises(ValidationError, match="temperature"):
        hub.text_generation(PROMPT, temperature=-1.0, stream=True)
    with pytest.raises(ValidationError, match="context length"):
        hub.text_generation("word " * 9000)
    response = httpx.post(f"{server.url}/models/no/such", json={"inputs": PROMPT})
    assert response.status_code == 404
    schemas.check(response.json(), schemas.ERROR)


def test_endpoint(server: Server) -> None:
    hub = InferenceClient(server.url, provider="hf-inference")
    info = schemas.check(hub.get_endpoint_info(), schemas.INFO)
    assert info["model_id"] == "smollm2:135m" and info["max_total_tokens"] == 8192
    assert info["max_concurrent_requests"] == 64 + 1024
    assert hub.health_check()


def test_raw_answers_are_as_published(server: Server) -> None:
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 5, "details": True, "top_n_tokens": 2}}
    whole = schemas.check(httpx.post(f"{server.url}/generate", json=body).json(), schemas.GENERATED)
    [listed] = schemas.check(httpx.post(f"{server.url}/", json=body).json(), schemas.GENERATED_LIST)
    assert listed["details"] == whole["details"]
    text = httpx.post(f"{server.url}/", json={**body, "stream": True}).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line]
    assert schemas.check_events(events) == whole["generated_text"]


# --- vectors --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedding_server(embedding_model: str) -> Iterator[Server]:
    server = start_server(embedding_model)
    yield server
    assert server.stop() == 0


def test_feature_extraction(embedding_server: Server, embedding_model: str) -> None:
    texts = ["A cat sits on the mat.", "Interest rates rise."]
    known = embedding_server.client().embeddings.create(model=embedding_model, input=texts)
    for url in ("", f"/models/{embedding_model}", f"/models/{embedding_model}/pipeline/feature-extraction"):
        client = InferenceClient(embedding_server.url + url)
        vectors = client.feature_extraction(texts, normalize=True, truncate=True)
        assert vectors.shape == (2, 384)
        assert vectors.tolist() == [item.embedding for item in known.data]
        assert client.feature_extraction(texts[0]).tolist() == vectors[:1].tolist()


def test_sentence_similarity(embedding_server: Server) -> None:
    client = InferenceClient(embedding_server.url)
    near, far = client.sentence_similarity(
        "Machine learning is so easy.",
        other_sentences=["Deep learning is so straightforward.", "The harbour was closed."],
    )
    assert near > 0.5 > far


def test_what_an_embedding_model_does_not_do(embedding_server: Server) -> None:
    client = InferenceClient(embedding_server.url + "/generate")
    with pytest.raises(ValidationError, match="makes embeddings"):
        client.text_generation(PROMPT)
    info = InferenceClient(embedding_server.url, provider="hf-inference").get_endpoint_info()
    assert schemas.check(info, schemas.INFO)["model_pipeline_tag"] == "feature-extraction"
