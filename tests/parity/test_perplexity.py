"""Perplexity of the default model on a chapter of a book: the native back end, with activations of 8 bits, against
transformers in float32 on the decoded weights.

The text is the first chapter of Lewis Carroll, Alice's Adventures in Wonderland (1865), in the public domain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.default_model import load_default_model
from fixtures.executors import NATIVE, open_executor
from fixtures.rounded_reference import logits_of
from fixtures.steps import PagedSequences, run_in_chunks
from inglenook.checkpoint.checkpoint import open_checkpoint
from inglenook.ops.executor import CacheSpec
from inglenook.text.tokenizer import Tokenizer

TEXT = Path(__file__).parents[1] / "fixtures/texts/alice.txt"
CHUNKS = (1, 200, 512, 31, 512, 24, 512)  # over and over


@pytest.fixture(scope="module")
def token_ids(default_gguf_path: Path) -> list[int]:
    tokenizer = Tokenizer.from_gguf(open_checkpoint(default_gguf_path).config)
    return tokenizer.encode(TEXT.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected(default_gguf_path: Path, token_ids: list[int]) -> float:
    return perplexity(logits_of(load_default_model(default_gguf_path), token_ids).numpy(), token_ids)


def perplexity(logits: np.ndarray, token_ids: list[int]) -> float:
    """exp of the mean of -log p(token | all before it), over all tokens but the first."""
    losses = []
    for row, next_id in zip(logits, token_ids[1:], strict=False):  # the last row has no next token
        largest = row.max()
        losses.append(np.log(np.exp(row - largest).sum(dtype=np.float64)) + largest - row[next_id])
    return float(np.exp(np.mean(losses)))


def chunk_sizes(num_tokens: int) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < num_tokens:
        sizes.append(min(CHUNKS[len(sizes) % len(CHUNKS)], num_tokens - sum(sizes)))
    return sizes


@pytest.mark.parametrize("backend", [name for name in NATIVE if name != "native-scalar"])
def test_perplexity(default_gguf_path: Path, token_ids: list[int], expected: float, backend: str) -> None:
    num_tokens = len(token_ids)
    cache = CacheSpec(num_blocks=-(-num_tokens // 32), block_size=32, dtype="f16")
    executor = open_executor(default_gguf_path, backend, cache=cache, max_num_tokens=num_tokens)
    logits = {}
    for way, sizes in (("in one piece", [num_tokens]), ("in chunks", chunk_sizes(num_tokens))):
        logits[way] = run_in_chunks(executor, PagedSequences(cache, 1, num_tokens), [token_ids], [sizes])[0]
    executor.close()
    measured = perplexity(logits["in one piece"], token_ids)
    excess = measured / expected - 1
    print(f"{backend}: perplexity {measured:.4f} over {num_tokens} tokens, float {expected:.4f}: {excess:+.3%}")
    assert abs(excess) < 0.01
    np.testing.assert_array_equal(logits["in chunks"], logits["in one piece"])
