"""Prompts with a text behind the answer, for every family's tokens."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.scripted_engine import scripted_backend
from fixtures.tool_cases.vocabulary import byte_tokenizer
from fixtures.vocabularies import sentencepiece_metadata
from inglenook.errors import UnsupportedParameterError
from inglenook.text.fill_in_middle import find_middle_format
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import CompletionRequest, Delta, SamplingParams

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ((*QWEN, "<|fim_pad|>"), "<|fim_prefix|>ab<|fim_suffix|>yz<|fim_middle|>"),
        (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), "<fim_prefix>ab<fim_suffix>yz<fim_middle>"),
        (
            ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
            "<｜fim▁begin｜>ab<｜fim▁hole｜>yz<｜fim▁end｜>",
        ),
        (("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"), "▁<PRE>ab▁<SUF>yz▁<MID>"),
        (("[PREFIX]", "[SUFFIX]"), "[SUFFIX]yz[PREFIX]ab"),
    ],
    ids=["qwen", "starcoder", "deepseek", "code llama", "codestral"],
)
def test_families(names: tuple[str, ...], written: str) -> None:
    tokenizer = byte_tokenizer(names)
    known = find_middle_format(tokenizer)
    assert known is not None
    prompt = known.prompt("ab", "yz", add_special_tokens=True)
    assert tokenizer.decode(prompt, skip_special_tokens=False) == written
    assert known.prompt(tokenizer.encode("ab"), "yz", add_special_tokens=True) == prompt
    assert known.end_ids == {tokenizer.token_id(name) for name in names}


def test_others_have_none() -> None:
    assert find_middle_format(byte_tokenizer(QWEN[:2])) is None
    assert find_middle_format(byte_tokenizer(())) is None


def llama() -> Tokenizer:
    """A SentencePiece vocabulary: a blank before every text, and a token that begins it."""
    metadata: dict[str, Any] = dict(sentencepiece_metadata())
    names = ["▁<PRE>", "▁<SUF>", "▁<MID>"]
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], *names]
    metadata["tokenizer.ggml.scores"] = [*metadata["tokenizer.ggml.scores"], 0.0, 0.0, 0.0]
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 3, 3, 3]
    return Tokenizer.from_gguf(metadata)


def test_the_text_behind_begins_without_a_blank() -> None:
    tokenizer = llama()
    known = find_middle_format(tokenizer)
    assert known is not None
    prompt = known.prompt("def f(", "return x", add_special_tokens=True)
    assert prompt[0] == tokenizer.bos_token_id
    assert known.prompt("def f(", "return x", add_special_tokens=False) == prompt[1:]
    begin = prompt.index(tokenizer.token_id("▁<SUF>") or -1)
    behind = prompt[begin + 1 : -1]
    assert b"".join(map(tokenizer.token_bytes, behind)) == b"return x"


async def answer(tokenizer: Tokenizer, **fields: Any) -> tuple[list[Delta], Any]:
    backend, engine = scripted_backend(tokenizer, "", ["cd<|fim_pad|>ef"])
    request = CompletionRequest("r", "m", SamplingParams(max_tokens=20), prompts=("ab",), suffix="yz", **fields)
    deltas = [delta async for delta in backend.complete(request)]
    [shown] = await backend.render(request)
    assert shown.token_ids == engine.requests[0].prompt_token_ids
    return deltas, engine.requests[0]


async def test_an_answer_ends_where_the_middle_does() -> None:
    deltas, request = await answer(byte_tokenizer((*QWEN, "<|fim_pad|>")))
    assert "".join(delta.text for delta in deltas) == "cd"
    assert deltas[-1].finish_reason == "stop"
    assert request.prompt_token_ids[0] == byte_tokenizer((*QWEN, "<|fim_pad|>")).token_id("<|fim_prefix|>")


@pytest.mark.parametrize("fields", [{"echo": True}, {"truncate_prompt_tokens": 4}])
async def test_what_does_not_go_together(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameterError, match="together with"):
        await answer(byte_tokenizer((*QWEN, "<|fim_pad|>")), **fields)


async def test_a_model_that_cannot() -> None:
    with pytest.raises(UnsupportedParameterError, match="no tokens for that") as caught:
        await answer(byte_tokenizer(("<|fim_pad|>",)))
    assert caught.value.param == "suffix"
