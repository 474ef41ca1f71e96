"""A draft model from the top: the same tokens are asked for, whatever the files; and the Python API takes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.tiny_folder import write_tiny_folder
from inglenook import LLM
from inglenook.errors import ConfigError


def tokenizer_file(folder: Path, changes: dict[str, str]) -> None:
    """The dummy vocabulary with some tokens spelled otherwise."""
    from inglenook.text.dummy_tokenizer import dummy_parts

    content = json.loads(dummy_parts(256).backend.to_str())
    content["model"]["vocab"] = {changes.get(n, n): i for n, i in content["model"]["vocab"].items()}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def ask(**settings: Any) -> tuple[tuple[int, ...], float]:
    with LLM("dummy:tiny", max_model_len=128, threads=2, **settings) as llm:
        tokens = llm.generate("hello", max_tokens=40, temperature=0.0)[0].token_ids
        return tokens, llm.stats().gauges["num_requests_running"]


def test_the_python_api_takes_a_draft_model(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "draft")
    tokenizer_file(folder, {})
    plain = ask(speculative_config="off")
    assert ask(speculative_config={"model": "dummy:tiny", "num_speculative_tokens": 3}) == plain
    assert ask(speculative_config={"model": str(folder)}) == plain


def test_other_tokens_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "other")
    tokenizer_file(folder, {"a": "aa", "b": "bb"})
    with pytest.raises(ConfigError) as caught:
        ask(speculative_config={"model": str(folder)})
    assert caught.value.param == "speculative_config"
    assert "2 tokens of the draft model other aren't dummy:tiny's" in caught.value.message
    assert "'aa' there and 'a' here" in caught.value.message
    assert "ngram" in caught.value.message
