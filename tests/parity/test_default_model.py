"""The real default model: the native back end against transformers on the decoded weights, token by token.

What differs is that native rounds activations to int8, and keys and values to half precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaForCausalLM

from fixtures.default_model import load_default_model
from fixtures.executors import open_executor
from fixtures.rounded_reference import logits_of
from fixtures.steps import PagedSequences, run_in_chunks
from inglenook.checkpoint.checkpoint import open_checkpoint
from inglenook.ops.native import default_isa
from inglenook.ops.program import CacheSpec, Executor
from inglenook.text.tokenizer import Tokenizer

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):",
    "2, 4, 8, 16, 32,",
    "Dear Sir or Madam,\n\nI am writing to you because",
    CHAT.format("Why is the sky blue?"),
    CHAT.format("Write a haiku about autumn."),
    CHAT.format("What are the three laws of thermodynamics?"),
    CHAT.format("How do I make pancakes?"),
    CHAT.format("Translate 'good morning' into Spanish and explain when to say it."),
]
NUM_NEW_TOKENS = 64
CACHE = CacheSpec(num_blocks=64, block_size=32, dtype="f16")


@dataclass(frozen=True)
class Continuation:
    token_ids: list[int]  # prompt and greedy continuation, without its last token
    num_prompt_tokens: int
    logits: np.ndarray  # [len(token_ids), vocabulary]


@pytest.fixture(scope="module")
def reference(default_gguf_path: Path) -> LlamaForCausalLM:
    return load_default_model(default_gguf_path)


@pytest.fixture(scope="module")
def prompts(default_gguf_path: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_gguf(open_checkpoint(default_gguf_path).config)
    return [tokenizer.encode(prompt) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def continuations(default_gguf_path: Path, prompts: list[list[int]]) -> Iterator[list[Continuation]]:
    executor = open_executor(default_gguf_path, f"native-{default_isa()}", cache=CACHE)
    yield continue_greedily(executor, prompts)
    executor.close()


def continue_greedily(executor: Executor, prompts: list[list[int]]) -> list[Continuation]:
    """All prompts together: one step for the prompts, then one for each new token."""
    sequences = PagedSequences(CACHE, len(prompts), 128)
    logits = [[rows] for rows in run_in_chunks(executor, sequences, prompts, [[len(p)] for p in prompts])]
    token_ids = [list(prompt) for prompt in prompts]
    for _ in range(NUM_NEW_TOKENS - 1):
        newest = [int(rows[-1][-1].argmax()) for rows in logits]
        result = executor.run(sequences.step([(i, [token]) for i, token in enumerate(newest)]))
        for i, token in enumerate(newest):
            token_ids[i].append(token)
            logits[i].append(result[i : i + 1].copy())
    return [
        Continuation(ids, len(prompt), np.concatenate(rows))
        for ids, prompt, rows in zip(token_ids, prompts, logits, strict=True)
    ]


def test_greedy_continuations_match(reference: LlamaForCausalLM, continuations: list[Continuation]) -> None:
    """Both back ends see native's tokens; each says which token it would choose next."""
    agreements, margins, errors = [], [], []
    for continuation in continuations:
        logits, expected = continuation.logits, logits_of(reference, continuation.token_ids).numpy()
        chosen = logits.argmax(axis=1)
        margin = expected.max(axis=1) - expected[np.arange(len(chosen)), chosen]
        agreements.append((margin == 0)[continuation.num_prompt_tokens - 1 :])
        margins.append(margin.max())
        errors.append(np.abs(logits - expected).mean() / expected.std())
    assert all(len(agreement) == NUM_NEW_TOKENS for agreement in agreements)
    match_rate = np.concatenate(agreements).mean()
    num_shared = [int(np.argmin(np.append(agreement, False))) for agreement in agreements]
    print(
        f"top-1 match of new tokens {match_rate:.2%}; first tokens that greedy decoding has in common {num_shared}; "
        f"mean logit error {np.mean(errors):.2%} of the standard deviation; largest margin lost {max(margins):.3f}"
    )
    assert match_rate >= 0.97  # 98.0 % (scalar) to 98.4 %
    assert min(num_shared) >= 1 and np.mean(num_shared) >= 16
    assert np.mean(errors) < 0.04  # 2.9 %, as int8 activations give in transformers too
    assert max(margins) < 0.7  # only near ties fall to the other side


def test_text_makes_sense(continuations: list[Continuation], default_gguf_path: Path) -> None:
    tokenizer = Tokenizer.from_gguf(open_checkpoint(default_gguf_path).config)
    assert " Paris" in tokenizer.decode(continuations[0].token_ids)


def test_torch_back_end(reference: LlamaForCausalLM, prompts: list[list[int]], default_gguf_path: Path) -> None:
    """Nothing is rounded here, so nothing but the order of sums differs."""
    prompt = prompts[5]
    cache = CacheSpec(num_blocks=4, block_size=32, dtype="f32")
    executor = open_executor(default_gguf_path, "torch", cache=cache)
    logits = run_in_chunks(executor, PagedSequences(cache, 1, 64), [prompt], [[len(prompt)]])[0]
    expected = logits_of(reference, prompt).numpy()
    assert np.abs(logits - expected).max() < 5e-5 * np.abs(expected).max()
