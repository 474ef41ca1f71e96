"""Classifiers of several labels, from texts to named numbers, against transformers' own pipeline and its models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizerFast, TextClassificationPipeline

from fixtures.tiny_encoders import CLASSIFIERS, RANKERS, VOCAB_SIZE, save_tiny_encoder
from inglenook import LLM

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(code) for code in range(97, 123))]
WORDS += [f"##{word}" for word in WORDS[5:]] + [str(number) for number in range(10)]
TEXTS = ["abc", "the cat sat", "x", "", "zebra zebra 12345", "abc abc"]
WAYS: dict[str, Any] = {
    "problem_type": [None, "single_label_classification", "multi_label_classification", "regression"],
    "name": [name for name in (*CLASSIFIERS, *RANKERS) if not name.startswith(("roberta", "xlm"))],
}


@pytest.mark.parametrize("problem_type", WAYS["problem_type"])
@pytest.mark.parametrize("name", WAYS["name"])
def test_the_pipeline_says_the_same(tmp_path: Path, name: str, problem_type: str | None) -> None:
    path, model = save_tiny_encoder(tmp_path / "model", name)
    (path / "vocab.txt").write_text("\n".join(WORDS))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "problem_type": problem_type}))
    model.config.problem_type = problem_type
    tokenizer = BertTokenizerFast(vocab=str(path / "vocab.txt"))
    if name.startswith("distilbert"):
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    pipeline = TextClassificationPipeline(model=model, tokenizer=tokenizer)
    expected = [{item["label"]: item["score"] for item in found} for found in pipeline(TEXTS, top_k=None)]
    with LLM(str(path)) as llm:
        answers = llm.classify(TEXTS)
        raw = llm.classify(TEXTS, raw_scores=True)
    for answer, known in zip(answers, expected, strict=True):
        assert dict(zip(answer.labels, answer.probs, strict=True)) == pytest.approx(known, rel=1e-4, abs=1e-5)
        assert answer.label == max(known, key=lambda label: known[label])
        assert answer.num_classes == model.config.num_labels
    assert (raw == answers) == (problem_type == "regression")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_token_ids(tmp_path: Path, name: str) -> None:
    path, model = save_tiny_encoder(tmp_path / "model", name)
    (path / "vocab.txt").write_text("\n".join(WORDS))
    rows = torch.randint(5, VOCAB_SIZE, (6, 20), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.inference_mode():
        logits = [model(torch.tensor([row])).logits[0] for row in rows]
    function: Any = {
        "multi_label_classification": torch.sigmoid,
        "regression": lambda row: row,
    }.get(model.config.problem_type, lambda row: row.softmax(0))
    with LLM(str(path), load_format="safetensors") as llm:
        answers = llm.classify(rows)
        alone = [llm.classify(row)[0] for row in rows]
    assert alone == answers  # bit for bit
    largest = max(float(row.abs().max()) for row in logits)
    for answer, row in zip(answers, logits, strict=True):
        assert answer.probs == pytest.approx(function(row).tolist(), rel=1e-4, abs=2e-5 * largest)
        assert answer.label == model.config.id2label[int(row.argmax())]
