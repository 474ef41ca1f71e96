from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from fixtures.vocabularies import byte_level_metadata, sentencepiece_metadata
from inglenook.errors import UnsupportedModelError
from inglenook.text.detokenizer import Detokenizer
from inglenook.text.parts import TokenizerParts
from inglenook.text.tokenizer import Tokenizer

BYTE_LEVEL = Tokenizer.from_gguf(byte_level_metadata())
SENTENCEPIECE = Tokenizer.from_gguf(sentencepiece_metadata())
tokenizers = st.sampled_from([BYTE_LEVEL, SENTENCEPIECE])
token_ids = st.lists(st.integers(0, 720), max_size=40)  # some outside the vocabularies


def pieces_of(tokenizer: Tokenizer, ids: list[int], **options: bool) -> list[str]:
    detokenizer = Detokenizer(tokenizer, **options)
    return [detokenizer.push(token_id) for token_id in ids] + [detokenizer.flush()]


@settings(deadline=None)
@given(tokenizer=tokenizers, ids=token_ids, skip=st.booleans())
def test_pieces_are_the_decoded_text(tokenizer: Tokenizer, ids: list[int], skip: bool) -> None:
    pieces = pieces_of(tokenizer, ids, skip_special_tokens=skip)
    assert "".join(pieces) == tokenizer.decode(ids, skip_special_tokens=skip)


@settings(deadline=None)
@given(tokenizer=tokenizers, text=st.text(st.characters(codec="utf-8", exclude_characters="<")))
def test_all_of_unicode_comes_whole(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = pieces_of(tokenizer, ids, skip_special_tokens=False)
    assert "".join(pieces) == text.replace("\u2581", " " if tokenizer is SENTENCEPIECE else "\u2581")
    for position in range(len(ids)):
        given_so_far = "".join(pieces[: position + 1])
        assert text.replace("\u2581", " ").startswith(given_so_far.replace("\u2581", " ")), "half a character"


@settings(deadline=None)
@given(ids=token_ids, skip=st.booleans())
def test_byte_level_decode_is_the_librarys(ids: list[int], skip: bool) -> None:
    expected = BYTE_LEVEL._backend.decode(ids, skip_special_tokens=skip)
    assert BYTE_LEVEL.decode(ids, skip_special_tokens=skip) == expected


@settings(deadline=None)
@given(ids=token_ids, skip=st.booleans())
def test_sentencepiece_decode_is_the_librarys(ids: list[int], skip: bool) -> None:
    expected = SENTENCEPIECE._backend.decode(ids, skip_special_tokens=skip)
    if "\ufffd" not in expected:  # the library drops valid characters beside broken ones
        assert SENTENCEPIECE.decode(ids, skip_special_tokens=skip) == expected


def byte_tokens(data: bytes) -> list[int]:
    """Each byte as a token of its own."""
    single = {BYTE_LEVEL.token_bytes(token_id): token_id for token_id in range(BYTE_LEVEL.vocab_size)}
    return [single[bytes([byte])] for byte in data]


def test_character_over_several_tokens() -> None:
    ids = byte_tokens("🫠".encode())
    assert pieces_of(BYTE_LEVEL, ids) == ["", "", "", "🫠", ""]


def test_cut_and_broken_characters() -> None:
    ids = byte_tokens("🫠".encode())
    [letter] = byte_tokens(b"x")
    assert pieces_of(BYTE_LEVEL, ids[:3]) == ["", "", "", "\ufffd"]
    assert pieces_of(BYTE_LEVEL, [*ids[:2], letter]) == ["", "", "\ufffdx", ""]
    assert pieces_of(BYTE_LEVEL, ids[2:3]) == ["\ufffd", ""]


def test_space_at_the_beginning() -> None:
    ids = SENTENCEPIECE.encode("the dog", add_special_tokens=False)
    assert "".join(pieces_of(SENTENCEPIECE, ids)) == "the dog"
    assert "".join(pieces_of(SENTENCEPIECE, [1, *ids])) == "the dog", "a skipped token isn't the beginning"
    assert "".join(pieces_of(SENTENCEPIECE, [1, *ids], skip_special_tokens=False)) == "<s> the dog"
    assert "".join(pieces_of(SENTENCEPIECE, ids, is_continuation=True)) == " the dog"


def with_decoder(decoder: decoders.Decoder | None) -> Tokenizer:
    backend = Backend(models.WordLevel({"▁▁a": 0, "▁b": 1, "c": 2, "<0x41>": 3}, unk_token="c"))
    if decoder is not None:
        backend.decoder = decoder
    return Tokenizer(TokenizerParts(backend, {}))


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 3)))
def test_metaspace(scheme: str, ids: list[int]) -> None:
    tokenizer = with_decoder(decoders.Metaspace(prepend_scheme=scheme))
    assert tokenizer.decode(ids) == tokenizer._backend.decode(ids)


def test_other_decoders_only_decode_at_once() -> None:
    for decoder in (None, decoders.WordPiece(), decoders.Sequence([decoders.Strip("_", 1, 0), decoders.Fuse()])):
        tokenizer = with_decoder(decoder)
        assert tokenizer.decode([0, 2]) == tokenizer._backend.decode([0, 2])
        with pytest.raises(UnsupportedModelError):
            Detokenizer(tokenizer)
