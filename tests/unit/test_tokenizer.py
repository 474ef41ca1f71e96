from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.vocabularies import (
    ODD_TEXTS,
    SPECIAL,
    byte_level_metadata,
    sentencepiece_metadata,
    sentencepiece_model,
)
from inglenook.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from inglenook.text import pre_tokenizers
from inglenook.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    return Tokenizer.from_gguf(byte_level_metadata())


@pytest.fixture(scope="module")
def sentencepiece() -> Tokenizer:
    return Tokenizer.from_gguf(sentencepiece_metadata())


@settings(deadline=None)
@given(text=st.text())
def test_byte_level_round_trip(byte_level: Tokenizer, text: str) -> None:
    ids = byte_level.encode(text)
    assert byte_level.decode(ids, skip_special_tokens=False) == text
    assert b"".join(byte_level.token_bytes(token_id) for token_id in ids) == text.encode()


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="<\u2581")))  # "<" may begin a control token
def test_sentencepiece_round_trip(sentencepiece: Tokenizer, text: str) -> None:
    assert sentencepiece.decode(sentencepiece.encode(text)) == text


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="<")))
def test_sentencepiece_matches_the_library(sentencepiece: Tokenizer, text: str) -> None:
    assert sentencepiece.encode(text, add_special_tokens=False) == sentencepiece_model().encode(text)


def test_sentencepiece_odd_texts(sentencepiece: Tokenizer) -> None:
    for text in ODD_TEXTS:
        if "<s>" not in text:  # the library knows control tokens only by id
            assert sentencepiece.encode(text, add_special_tokens=False) == sentencepiece_model().encode(text), text


def test_special_tokens(byte_level: Tokenizer, sentencepiece: Tokenizer) -> None:
    assert byte_level.special_tokens == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    assert (byte_level.bos_token_id, byte_level.eos_token_id) == (1, 2)
    assert byte_level.special_ids == {0, 1, 2}
    assert byte_level.end_of_turn_ids == {0, 2}
    assert sentencepiece.special_ids == {0, 1, 2}
    assert sentencepiece.end_of_turn_ids == {2}
    assert sentencepiece.encode("a")[0] == 1, "SentencePiece models begin with BOS unless the file says otherwise"


def test_special_text_is_recognised(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("x<|im_end|>y<tool call>")
    tool_call = byte_level.vocab_size - 1
    assert 2 in ids and ids[-1] == tool_call
    assert byte_level.decode(ids) == "xy<tool call>", "user-defined tokens are text, control tokens aren't"
    assert byte_level.decode(ids, skip_special_tokens=False) == "x<|im_end|>y<tool call>"
    assert byte_level.token_bytes(2) == b"<|im_end|>"


def test_digits_are_cut_one_by_one(byte_level: Tokenizer) -> None:
    assert [byte_level.token_text(token_id) for token_id in byte_level.encode("x 10²")] == [
        "x",
        " ",
        "1",
        "0",
        "\ufffd",
        "\ufffd",
    ]


def test_add_bos_and_eos() -> None:
    metadata = {**byte_level_metadata(), "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}
    tokenizer = Tokenizer.from_gguf(metadata)
    plain = tokenizer.encode("hi", add_special_tokens=False)
    assert tokenizer.encode("hi") == [1, *plain, 2]


def test_no_space_prefix() -> None:
    metadata = {**sentencepiece_metadata(), "tokenizer.ggml.add_space_prefix": False}
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer.token_name(tokenizer.encode("the", add_special_tokens=False)[0]) == "t"
    assert tokenizer.decode(tokenizer.encode(" the")) == " the"


def test_ids_outside_the_vocabulary(byte_level: Tokenizer) -> None:
    assert byte_level.token_bytes(10**7) == b"" == byte_level.token_bytes(-1)
    assert byte_level.decode([10**7, -1]) == ""


def test_lone_surrogate(byte_level: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match="surrogate"):
        byte_level.encode("a\ud800b")


def test_arrays_may_be_numpy() -> None:
    metadata = dict(sentencepiece_metadata())
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        metadata[key] = np.array(metadata[key])
    metadata["tokenizer.ggml.eos_token_id"] = np.uint32(2)
    text = ODD_TEXTS[9]
    assert Tokenizer.from_gguf(metadata).encode(text) == Tokenizer.from_gguf(sentencepiece_metadata()).encode(text)


def test_other_threads_run_during_encode(byte_level: Tokenizer) -> None:
    """The interpreter lock is free while a long text is encoded."""
    text = "The quick brown fox jumps over the lazy dog. " * 40_000
    num_ticks = 0
    is_done = threading.Event()

    def tick() -> None:
        nonlocal num_ticks
        while not is_done.wait(0.001):
            num_ticks += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    num_before = num_ticks
    ids = byte_level.encode(text)
    num_within = num_ticks - num_before
    is_done.set()
    ticker.join()
    assert num_within >= 10
    assert sum(len(byte_level.token_bytes(token_id)) for token_id in ids) == len(text), "nothing is cut"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "rwkv"}, UnsupportedModelError, "rwkv"),
        ({"pre": "no-such-splitter"}, UnsupportedModelError, "no-such-splitter"),
        ({"tokens": None}, CheckpointError, "vocabulary"),
        ({"tokens": "abc"}, CheckpointError, "array"),
        ({"merges": None}, CheckpointError, "merges"),
        ({"merges": ["a b c d"]}, CheckpointError, "No tokenizer"),
        ({"merges": ["ab"]}, CheckpointError, "No tokenizer"),
        ({"merges": [" a"]}, CheckpointError, "No tokenizer"),
        ({"merges": [7]}, CheckpointError, "No tokenizer"),
        ({"tokens": list(range(572))}, CheckpointError, "No tokenizer"),
        ({"token_type": ["x"] * 572}, CheckpointError, "No tokenizer"),
        ({"merges": ["qq zz"]}, CheckpointError, "No tokenizer"),
        ({"token_type": [1, 2]}, CheckpointError, "2 entries"),
        ({"eos_token_id": 10**6}, CheckpointError, "outside"),
    ],
)
def test_broken_metadata(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    metadata = dict(byte_level_metadata())
    for key, value in changes.items():
        metadata[f"tokenizer.ggml.{key}"] = value
        if value is None:
            del metadata[f"tokenizer.ggml.{key}"]
    with pytest.raises(error, match=words):
        Tokenizer.from_gguf(metadata)


def test_doubled_token() -> None:
    metadata = dict(byte_level_metadata())
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"][:-1], "!"]
    with pytest.raises(CheckpointError, match="twice"):
        Tokenizer.from_gguf(metadata)


def test_missing_splitter_is_named(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = Tokenizer.from_gguf(byte_level_metadata(None))
    assert "tokenizer.ggml.pre" in caplog.text
    assert tokenizer.decode(tokenizer.encode("Some 12345 text!")) == "Some 12345 text!"


# Pieces as the published tokenizer.json of each model gives them.
@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("gpt-2", "I'm 1234  ok\n\n", ["I", "'m", " 1234", " ", " ok", "\n\n"]),
        ("smollm", "I'm 1234  ok", ["I", "'m", " ", "1", "2", "3", "4", " ", " ok"]),
        ("llama-bpe", "I'M 12345  (ok)\n\nx", ["I", "'M", " ", "123", "45", " ", " (", "ok", ")\n\n", "x"]),
        ("qwen2", "I'M 123  (ok)\n x", ["I", "'M", " ", "1", "2", "3", " ", " (", "ok", ")\n", " x"]),
        ("qwen35", "नमस्ते x", ["नमस्ते", " x"]),
        ("tekken", "HelloWORLDok don't/", ["Hello", "WORLDok", " don", "'t", "/"]),
        ("gpt-4o", "HelloWORLDok don't 1234/", ["Hello", "WORLDok", " don't", " ", "123", "4", "/"]),
        ("deepseek-v3", "漢字kana 1234!x", ["漢字", "kana", " ", "123", "4", "!x"]),
        ("deepseek-coder", "a b\n12!!", ["a", " b", "\n", "1", "2", "!!"]),
    ],
)
def test_splitters(pre: str, text: str, pieces: list[str]) -> None:
    splits = pre_tokenizers.build(pre_tokenizers.splitter_for(pre)).pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in splits] == pieces


@pytest.mark.parametrize(("pre", "expected"), [("llama-bpe", True), ("qwen2", False)])
def test_splitter_sets_default_bos(pre: str, expected: bool) -> None:
    metadata = dict(byte_level_metadata(pre))
    del metadata["tokenizer.ggml.add_bos_token"]
    assert (Tokenizer.from_gguf(metadata).encode("hi")[0] == 1) is expected


def test_every_family_of_splitters_compiles() -> None:
    for name in pre_tokenizers._BY_NAME:
        pieces = pre_tokenizers.build(pre_tokenizers.splitter_for(name)).pre_tokenize_str(ODD_TEXTS[10])
        assert "".join(ODD_TEXTS[10][start:end] for _, (start, end) in pieces) == ODD_TEXTS[10]


def test_harmony_end_is_not_the_end_of_a_turn() -> None:
    metadata = dict(byte_level_metadata())
    tokens = [*metadata["tokenizer.ggml.tokens"], "<|end|>", "<|return|>", "<|call|>"]
    metadata["tokenizer.ggml.tokens"] = tokens
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 3, 3, 3]
    tokenizer = Tokenizer.from_gguf(metadata)
    names = {tokens[token_id] for token_id in tokenizer.end_of_turn_ids}
    assert names == {SPECIAL[0], SPECIAL[2], "<|return|>", "<|call|>"}


def test_ordinary_token_that_looks_like_an_end() -> None:
    """Only special tokens end turns: a vocabulary may hold </s> because it was trained on HTML."""
    metadata = dict(byte_level_metadata())
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], "</s>"]
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 1]
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer.token_id("</s>") not in tokenizer.end_of_turn_ids


@pytest.mark.parametrize("metadata", [byte_level_metadata(), sentencepiece_metadata()], ids=["bytes", "sentencepiece"])
def test_offsets(metadata: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_gguf(metadata)
    for text in ("", "hello  world", "Café 你好 👍🏽", "<|im_end|> x"):
        for special in (True, False):
            spans = tokenizer.encode_with_offsets(text, add_special_tokens=special)
            assert [span[0] for span in spans] == tokenizer.encode(text, add_special_tokens=special)
            assert all(0 <= start <= end <= len(text) for _, start, end in spans)
            covered = {position for _, start, end in spans for position in range(start, end)}
            assert all(position in covered for position, character in enumerate(text) if not character.isspace())
