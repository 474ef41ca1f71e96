"""Texts that an answer may not come to hold, as tokens."""

from __future__ import annotations

import pytest

from fixtures.vocabularies import byte_level_metadata, sentencepiece_metadata
from inglenook.backends.bad_words import banned_tokens
from inglenook.text.tokenizer import Tokenizer


@pytest.mark.parametrize("metadata", [byte_level_metadata, sentencepiece_metadata])
def test_each_word_at_the_beginning_and_behind_a_space(metadata: object) -> None:
    tokenizer = Tokenizer.from_gguf(metadata())  # type: ignore[operator]
    banned = banned_tokens(tokenizer, ("fox", "  dog"))
    texts = [b"".join(map(tokenizer.token_bytes, tokens)).decode() for tokens in banned]
    assert [text.lstrip() for text in texts] == ["fox", "fox", "dog", "dog"]
    assert texts[1] == " " + texts[0]
    assert len(set(banned)) == 4


def test_tokens_that_come_twice_are_kept_once() -> None:
    tokenizer = Tokenizer.dummy(300)
    assert banned_tokens(tokenizer, ("a", " a", "a")) == ((97,), (32, 97))
    assert banned_tokens(tokenizer, ()) == ()
