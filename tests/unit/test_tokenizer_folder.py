from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.vocabularies import byte_level_metadata
from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.text.tokenizer import Tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tokenizer.json that truncates, pads, and says nothing of special tokens."""
    backend = Tokenizer.from_gguf(byte_level_metadata())._backend
    backend.enable_truncation(4)
    backend.enable_padding(length=8)
    backend.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def configure(folder: Path, name: str = "tokenizer_config.json", **config: Any) -> Tokenizer:
    (folder / name).write_text(json.dumps(config), encoding="utf-8")
    return Tokenizer.from_folder(folder)


def test_same_as_from_gguf(folder: Path) -> None:
    text = "The quick brown fox<|im_end|> and 12345 more"
    tokenizer, expected = Tokenizer.from_folder(folder), Tokenizer.from_gguf(byte_level_metadata())
    assert tokenizer.encode(text) == expected.encode(text), "neither cut nor padded"
    assert tokenizer.decode(tokenizer.encode(text)) == expected.decode(expected.encode(text))
    assert tokenizer.special_ids == expected.special_ids
    assert tokenizer.special_tokens == {}
    assert tokenizer.chat_template is None


def test_special_tokens(folder: Path) -> None:
    tokenizer = configure(folder, bos_token={"content": "<|im_start|>"}, eos_token="<|im_end|>", pad_token=None)
    assert tokenizer.special_tokens == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


def test_special_tokens_map(folder: Path) -> None:
    configure(folder, eos_token="<|im_end|>")
    tokenizer = configure(folder, "special_tokens_map.json", eos_token="<|endoftext|>", bos_token="<|im_start|>")
    assert tokenizer.special_tokens == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}


def test_tokens_that_only_the_configuration_calls_special(folder: Path) -> None:
    tokenizer = configure(folder, eos_token="!", additional_special_tokens=["?", "not in the vocabulary"])
    ids = tokenizer.encode("a!?")
    assert tokenizer.special_ids == {0, 1, 2, *ids[1:]}
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.token_id("not in the vocabulary") is None


def test_add_bos_token(folder: Path) -> None:
    plain = configure(folder, bos_token="<|im_start|>").encode("hi")
    with_bos = configure(folder, bos_token="<|im_start|>", eos_token="<|im_end|>", add_bos_token=True)
    assert with_bos.encode("hi") == [1, *plain]
    assert with_bos.encode("hi", add_special_tokens=False) == plain
    assert configure(folder, bos_token="<|im_start|>", add_bos_token=False).encode("hi") == plain


def test_chat_template_sources(folder: Path) -> None:
    assert configure(folder, chat_template="one").chat_template == "one"
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "two"}]
    assert configure(folder, chat_template=named).chat_template == "two"
    assert Tokenizer.from_folder(folder).chat_templates == {entry["name"]: entry["template"] for entry in named}
    (folder / "chat_template.jinja").write_text("three\n", encoding="utf-8")
    assert Tokenizer.from_folder(folder).chat_template == "three\n", "the file goes before the configuration"
    (folder / "chat_templates").mkdir()
    (folder / "chat_templates" / "rag.jinja").write_text("four", encoding="utf-8")
    assert Tokenizer.from_folder(folder).chat_templates == {"default": "three\n", "rag": "four"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"chat_template": [{"template": "x"}]}, "chat_template"),
        ({"chat_template": 7}, "chat_template"),
        ({"eos_token": 7}, "eos_token"),
        ({"bos_token": "missing", "add_bos_token": True}, "add_bos_token"),
    ],
)
def test_unusable_configuration(folder: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        configure(folder, **config)


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, "\udcff"])
def test_broken_json(folder: Path, content: str) -> None:
    (folder / "tokenizer_config.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json"):
        Tokenizer.from_folder(folder)


def test_missing_and_broken_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e")
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.model"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(CheckpointError, match="can't be read"):
        Tokenizer.from_folder(tmp_path)
