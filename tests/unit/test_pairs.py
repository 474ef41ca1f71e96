"""Cutting to a length, and vocabularies that can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from inglenook.text.pairs import shared_room
from inglenook.text.tokenizer import Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three", "##s"]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=2), st.integers(0, 60))
def test_the_longer_text_loses_first(lengths: list[int], room: int) -> None:
    left = lengths[:]
    while sum(left) > room:
        longest = max(range(len(left)), key=lambda i: left[i])
        left[longest] -= 1
    shared = shared_room(lengths, room)
    assert sum(shared) == min(sum(lengths), room)
    assert sorted(shared) == sorted(left)
    assert all(kept <= length for kept, length in zip(shared, lengths, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def test_vocabulary_alone(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.encode("ONE twos, three") == [2, 5, 6, 8, 1, 7, 3]
    [pair] = tokenizer.encode_inputs([("one", "two")])
    assert (pair.token_ids, pair.token_type_ids) == ([2, 5, 3, 6, 3], [0, 0, 0, 1, 1])
    assert tokenizer.vocab_size == len(WORDS)
    assert tokenizer.special_ids == {0, 1, 2, 3, 4}
    assert tokenizer.decode([2, 5, 6, 8, 3]) == "one twos"


def test_cased_vocabulary(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    assert Tokenizer.from_folder(folder).encode("ONE one") == [2, 1, 5, 3]


def test_no_room_for_special_tokens(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.encode_cut("one two", 2, "right").token_ids == [2, 3]
    assert tokenizer.encode_cut("one two", 1, "right", add_special_tokens=False).token_ids == [5]
    with pytest.raises(InvalidRequestError, match="puts 3 tokens"):
        tokenizer.encode_cut(("one", "two"), 2, "right")


def test_unpaired_surrogates(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    for given_ in ("\ud800", ("one", "\ud800")):
        with pytest.raises(InvalidRequestError, match="surrogate"):
            tokenizer.encode_inputs([given_])


def test_other_kinds_of_vocabularies(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "MPNetTokenizer"}')
    with pytest.raises(UnsupportedModelError, match="MPNetTokenizer"):
        Tokenizer.from_folder(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(CheckpointError, match=r"\[CLS\]"):
        Tokenizer.from_folder(folder)


def test_beginning_and_end_named_by_the_configuration(folder: Path) -> None:
    """add_bos_token and add_eos_token go before tokenizer.json, as for single texts."""
    Tokenizer.from_folder(folder)._backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"add_bos_token": true, "add_eos_token": true, "bos_token": "[CLS]", "eos_token": "[MASK]"}'
    )
    tokenizer = Tokenizer.from_folder(folder)
    [single, pair] = tokenizer.encode_inputs(["one", ("one", "two")])
    assert single.token_ids == tokenizer.encode("one") == [2, 5, 4]
    assert pair.token_ids == [2, 5, 4, 2, 6, 4]
    assert tokenizer.encode_cut(("one two", "three"), 5, "left").token_ids == [2, 6, 4, 2, 4]
