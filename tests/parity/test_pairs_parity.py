"""Texts and pairs as an encoder model reads them, against transformers: special tokens, token types, cutting."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from inglenook.text.tokenizer import Tokenizer

TEXTS = [
    "",
    "A sentence.",
    "Ein längerer Satz — mit Umlauten, 中文 and ÀÉÎ!",
    "unaffable \u200b\t tokenisation of [SEP] and [MASK]  spaces",
    "word " * 40,
]


@pytest.fixture(scope="module", params=["tokenizer.json", "vocab.txt"])
def folder(request: pytest.FixtureRequest, embedding_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's, and the same with vocab.txt alone."""
    if request.param == "tokenizer.json":
        return embedding_folder
    folder = tmp_path_factory.mktemp("vocabulary")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(embedding_folder / name, folder)
    return folder


@pytest.fixture(scope="module")
def reference(embedding_folder: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(embedding_folder)


@pytest.fixture(scope="module")
def ours(folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(folder)


def test_texts(ours: Tokenizer, reference: Any) -> None:
    for adds in (True, False):
        encoded = ours.encode_inputs(TEXTS, add_special_tokens=adds)
        assert [item.token_ids for item in encoded] == reference(TEXTS, add_special_tokens=adds)["input_ids"]
    assert [ours.encode(text) for text in TEXTS] == reference(TEXTS)["input_ids"]


def test_pairs(ours: Tokenizer, reference: Any) -> None:
    pairs = [(a, b) for a in TEXTS for b in TEXTS]
    encoded = ours.encode_inputs(pairs)
    expected = reference([a for a, _ in pairs], [b for _, b in pairs], return_token_type_ids=True)
    assert [item.token_ids for item in encoded] == expected["input_ids"]
    assert [item.token_type_ids for item in encoded] == expected["token_type_ids"]
    assert {1} <= set(encoded[-1].token_type_ids)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("max_tokens", [3, 4, 7, 8, 20, 45, 200])
def test_cut(ours: Tokenizer, reference: Any, side: Any, max_tokens: int) -> None:
    reference.truncation_side = side
    for text in TEXTS:
        expected = reference(text, truncation=True, max_length=max_tokens, return_token_type_ids=True)
        cut = ours.encode_cut(text, max_tokens, side)
        assert (cut.token_ids, cut.token_type_ids) == (expected["input_ids"], expected["token_type_ids"])
        for other in TEXTS:
            # Lists, since an empty second text on its own is none to transformers.
            expected = reference([text], [other], truncation=True, max_length=max_tokens, return_token_type_ids=True)
            cut = ours.encode_cut((text, other), max_tokens, side)
            assert cut.token_ids == expected["input_ids"][0]
            assert cut.token_type_ids == expected["token_type_ids"][0]


def test_decoding(ours: Tokenizer, reference: Any) -> None:
    ids = reference(TEXTS[1])["input_ids"]
    assert ours.decode(ids, skip_special_tokens=False) == reference.decode(ids, clean_up_tokenization_spaces=True)
    assert ours.decode(ids) == "a sentence."


# --- another family: Unigram, as XLM-RoBERTa has it -----------------------------------------------------


@pytest.fixture(scope="module")
def unigram_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of the texts above, likelier the shorter; two special tokens between the texts of a pair."""
    pieces = {"<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    for text in TEXTS:
        for word in text.split():
            pieces |= {f"\u2581{word[:n]}": -float(n) for n in range(len(word) + 1)}
            pieces |= dict.fromkeys(word, -9.0)
    backend = tokenizers.Tokenizer(tokenizers.models.Unigram(list(pieces.items()), unk_id=3))
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    backend.normalizer = tokenizers.normalizers.NFKC()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    backend.decoder = tokenizers.decoders.Metaspace()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder = tmp_path_factory.mktemp("unigram")
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("max_tokens", [4, 5, 9, 30, 500])
def test_unigram(unigram_folder: Path, side: Any, max_tokens: int) -> None:
    ours = Tokenizer.from_folder(unigram_folder)
    reference = PreTrainedTokenizerFast(
        tokenizer_file=str(unigram_folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>", truncation_side=side
    )
    pairs = [(a, b) for a in TEXTS for b in TEXTS]
    options: dict[str, Any] = {"truncation": True, "max_length": max_tokens}
    assert [e.token_ids for e in ours.encode_inputs(TEXTS)] == reference(TEXTS)["input_ids"]
    expected = reference([a for a, _ in pairs], [b for _, b in pairs], **options)
    assert [ours.encode_cut(pair, max_tokens, side).token_ids for pair in pairs] == expected["input_ids"]
    expected = reference(TEXTS, **options)
    assert [ours.encode_cut(text, max_tokens, side).token_ids for text in TEXTS] == expected["input_ids"]
