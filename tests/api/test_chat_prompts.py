"""How a chat request shapes its own prompt, and what of it comes back: echo, special tokens, templates, suffixes."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.served import Served, serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from fixtures.vocabularies import sentencepiece_metadata
from inglenook.text.tokenizer import Tokenizer

USER = {"role": "user", "content": "An apple a day"}
SAID = {"role": "assistant", "content": "keeps the doctor"}
TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}"


def start(**settings: Any) -> Served:
    return serve(byte_tokenizer(()), [" away."], **settings)


async def content(served: Served, *messages: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    """The answer's text, which is the same in a stream."""
    answer = (await served.http.post("/chat/completions", json={"messages": messages, **fields})).json()
    text = answer["choices"][0]["message"]["content"]
    chunks = await served.chunks({"messages": messages, **fields})
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
    assert chunks[0].get("warnings") == answer.get("warnings")
    return text, answer


async def test_echo() -> None:
    going_on = {"continue_final_message": True, "add_generation_prompt": False}
    assert (await content(start(), USER, SAID, echo=True, **going_on))[0] == "keeps the doctor away."
    assert (await content(start(), USER, SAID, echo=False, **going_on))[0] == " away."
    assert (await content(start(), USER, SAID, echo=True))[0] == "keeps the doctor away."
    assert (await content(start(), USER, echo=True, **going_on))[0] == "An apple a day away."


async def test_echo_of_another_role_is_said_to_have_no_effect() -> None:
    text, answer = await content(start(), USER, echo=True)
    assert text == " away."
    assert "echo has no effect" in answer["warnings"][0]


async def test_a_template_of_the_request() -> None:
    served = start(trust_request_chat_template=True)
    _, answer = await content(served, USER, chat_template=TEMPLATE, return_prompt_text=True)
    assert answer["prompt_text"] == "<user> An apple a day\n"
    assert "model: " in (await content(served, USER, return_prompt_text=True))[1]["prompt_text"]


@pytest.mark.parametrize(
    ("settings", "template", "words"),
    [
        ({}, TEMPLATE, "--trust-request-chat-template"),
        ({"trust_request_chat_template": True}, "{% for %}", "isn't valid Jinja"),
        ({"trust_request_chat_template": True}, "{{ raise_exception('no such turn') }}", "no such turn"),
        ({"trust_request_chat_template": True}, "{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
async def test_templates_that_are_not_taken(settings: dict[str, Any], template: str, words: str) -> None:
    answer = await start(**settings).http.post(
        "/chat/completions", json={"messages": [USER], "chat_template": template}
    )
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_special_tokens_beside_the_template() -> None:
    tokenizer = Tokenizer.from_gguf(sentencepiece_metadata())
    served = serve(tokenizer, [" away."])
    fields = {"return_token_ids": True}
    plain = (await content(served, USER, **fields))[1]["prompt_token_ids"]
    assert plain[0] != tokenizer.bos_token_id
    with_bos = (await content(served, USER, add_special_tokens=True, **fields))[1]["prompt_token_ids"]
    assert with_bos == [tokenizer.bos_token_id, *plain]
    counted = await served.http.post("/tokenize", json={"messages": [USER], "add_special_tokens": True})
    assert counted.json()["tokens"] == with_bos


async def test_suffix_needs_a_model_for_it() -> None:
    answer = await start().http.post("/completions", json={"prompt": "a", "suffix": "b"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "suffix"
    assert (await start().http.post("/completions", json={"prompt": "a", "suffix": ""})).status_code == 200
