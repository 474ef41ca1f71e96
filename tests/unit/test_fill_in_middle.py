"""Prompts with a text behind the answer, for every family's tokens."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.scripted_engine import scripted_backend
from fixtures.tool_cases.vocabulary import byte_tokenizer
from fixtures.vocabularies import sentencepiece_metadata
from inglenook.backends.rendering import prompt_ids
from inglenook.errors import UnsupportedParameterError
from inglenook.text.fill_in_middle import find_middle_format
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import CompletionRequest, Delta, SamplingParams, SourceFile

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
    prompt = known.prompt(tokenizer.encode("ab"), "yz", add_special_tokens=True)
    assert tokenizer.decode(prompt.token_ids, skip_special_tokens=False) == written
    assert prompt.num_cut == (0, 0, 0)
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
    before = tokenizer.encode("def f(", add_special_tokens=False)
    prompt = known.prompt(before, "return x", add_special_tokens=True).token_ids
    assert prompt[0] == tokenizer.bos_token_id
    assert known.prompt(before, "return x", add_special_tokens=False).token_ids == prompt[1:]
    begin = prompt.index(tokenizer.token_id("▁<SUF>") or -1)
    behind = prompt[begin + 1 : -1]
    assert b"".join(map(tokenizer.token_bytes, behind)) == b"return x"


def test_only_a_text_at_the_beginning_is_begun() -> None:
    tokenizer = llama()
    bos = tokenizer.bos_token_id
    ids = tokenizer.encode("fox", add_special_tokens=False)
    text = prompt_ids(tokenizer, "fox", add_special_tokens=True)
    assert text == [bos, *ids] == prompt_ids(tokenizer, ("fox",), add_special_tokens=True)
    assert prompt_ids(tokenizer, tuple(ids), add_special_tokens=True) == ids
    mixed = prompt_ids(tokenizer, (ids[0], "fox"), add_special_tokens=True)
    assert mixed[0] == ids[0] and bos not in mixed
    assert b"".join(map(tokenizer.token_bytes, mixed[1:])) == b"fox"
    assert b"".join(map(tokenizer.token_bytes, ids)) == b" fox"


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


async def test_what_does_not_go_together() -> None:
    with pytest.raises(UnsupportedParameterError, match="together with"):
        await answer(byte_tokenizer((*QWEN, "<|fim_pad|>")), echo=True)


FILES = (SourceFile("a.py", "A"), SourceFile("b.py", "B"))


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (
            (*QWEN, "<|repo_name|>", "<|file_sep|>"),
            "<|repo_name|>myproject\n<|file_sep|>a.py\nA<|file_sep|>b.py\nB<|file_sep|>filename\n",
        ),
        (
            (*QWEN, "<|file_separator|>"),
            "<|file_separator|>a.py\nA<|file_separator|>b.py\nB<|file_separator|>filename\n",
        ),
        (QWEN, "\n\n--- snippet ---\n\nA\n\n--- snippet ---\n\nB"),
    ],
    ids=["qwen", "codegemma", "without marks"],
)
def test_other_files_come_before_all(names: tuple[str, ...], written: str) -> None:
    tokenizer = byte_tokenizer(names)
    known = find_middle_format(tokenizer)
    assert known is not None
    prompt = known.prompt(tokenizer.encode("ab"), "yz", files=FILES, add_special_tokens=True)
    text = tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
    assert text == written + "<|fim_prefix|>ab<|fim_suffix|>yz<|fim_middle|>"


@pytest.mark.parametrize(
    ("max_tokens", "file", "written", "num_cut"),
    [
        (19, "", "<P>abcdefgh<S>stuvwxyz<M>", (0, 0, 0)),
        (18, "", "<P>abcdefgh<S>stuvwxy<M>", (0, 0, 1)),
        (7, "", "<P>fgh<S>s<M>", (0, 5, 7)),
        (3, "", "<P><S><M>", (0, 8, 8)),
        (1, "", "<P><S><M>", (0, 8, 8)),
        (22, "a file", "ile<P>abcdefgh<S>stuvwxyz<M>", (22, 0, 0)),
        (11, "a file", "<P>cdefgh<S>st<M>", (25, 2, 6)),
    ],
)
def test_what_is_too_long_is_cut_far_from_the_middle(
    max_tokens: int, file: str, written: str, num_cut: tuple[int, int, int]
) -> None:
    tokenizer = byte_tokenizer(QWEN)
    known = find_middle_format(tokenizer)
    assert known is not None
    prompt = known.prompt(
        tokenizer.encode("abcdefgh"),
        "stuvwxyz",
        files=(SourceFile("f", file),) if file else (),
        add_special_tokens=True,
        max_tokens=max_tokens,
    )
    text = tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
    for name, short in zip(QWEN, ("<P>", "<S>", "<M>"), strict=True):
        text = text.replace(name, short)
    assert (text, prompt.num_cut) == (written, num_cut)


async def test_a_cut_is_told() -> None:
    deltas, request = await answer(byte_tokenizer((*QWEN, "<|fim_pad|>")), truncate_prompt_tokens=4)
    assert len(request.prompt_token_ids) == 4
    assert deltas[0].warnings == (
        "Of what surrounds the middle, tokens were cut off: 1 at the beginning, 2 at the end",
    )


async def test_a_model_that_cannot() -> None:
    with pytest.raises(UnsupportedParameterError, match="no tokens for that") as caught:
        await answer(byte_tokenizer(("<|fim_pad|>",)))
    assert caught.value.param == "suffix"
