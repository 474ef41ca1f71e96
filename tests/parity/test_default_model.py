"""The real default model: the native back end against transformers on the decoded weights, token by token.

What differs is that native rounds activations to int8, and what attention multiplies to bfloat16.
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
from inglenook.ops.executor import CacheSpec, Executor
from inglenook.ops.native import default_isa
from inglenook.text.tokenizer import Tokenizer

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
# Ten that were written before the native back end ran, and twenty that were fixed before they were first measured:
# a prompt isn't to be exchanged because of what it gives.
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    ",
    CHAT.format("Why is the sky blue?"),
    CHAT.format("Write a haiku about autumn."),
    "The three laws of thermodynamics are:\n1.",
    "Ingredients: flour, eggs, milk, butter. Instructions: First,",
    "2, 4, 8, 16, 32,",
    '{"name": "Ada Lovelace", "born": 1815, "profession":',
    "Dear Sir or Madam,\n\nI am writing to you because",
    "In 1969, the first",
    "My grandmother's recipe for soup begins with",
    "The difference between a virus and a bacterium is",
    "import numpy as np\n\ndef mean(",
    "SELECT name, age FROM",
    "To install the package, run",
    "The river Nile flows",
    "She opened the old wooden door and",
    "Q: What is 12 times 7?\nA:",
    "The stock market fell on Monday because",
    CHAT.format("What is the capital of France?"),
    CHAT.format("Explain photosynthesis to a child."),
    CHAT.format("Give me three tips for sleeping well."),
    CHAT.format("Who wrote Hamlet?"),
    CHAT.format("Summarise the plot of Cinderella."),
    CHAT.format("How does a bicycle stay upright?"),
    CHAT.format("List five fruits."),
    CHAT.format("What is a prime number?"),
    CHAT.format("Write a short email asking for a day off."),
    CHAT.format("Why do cats purr?"),
]
NUM_NEW_TOKENS = 64
CACHE = CacheSpec(num_blocks=128, block_size=32, dtype="bf16")


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
    executor = open_executor(default_gguf_path, f"native-{default_isa()}", cache=CACHE, max_num_tokens=512)
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
    agreements, everywhere, margins, errors = [], [], [], []
    for continuation in continuations:
        logits, expected = continuation.logits, logits_of(reference, continuation.token_ids).numpy()
        chosen = logits.argmax(axis=1)
        margin = expected.max(axis=1) - expected[np.arange(len(chosen)), chosen]
        everywhere.append(margin == 0)
        agreements.append((margin == 0)[continuation.num_prompt_tokens - 1 :])
        margins.append(margin.max())
        errors.append(np.abs(logits - expected).mean() / expected.std())
    assert all(len(agreement) == NUM_NEW_TOKENS for agreement in agreements)
    match_rate = np.concatenate(agreements).mean()
    rate_everywhere = np.concatenate(everywhere).mean()
    num_shared = [int(np.argmin(np.append(agreement, False))) for agreement in agreements]
    print(
        f"top-1 match of new tokens {match_rate:.2%}, of all {rate_everywhere:.2%}; "
        f"first tokens that greedy decoding has in common {num_shared}; "
        f"mean logit error {np.mean(errors):.2%} of the standard deviation; largest margin lost {max(margins):.3f}"
    )
    assert match_rate >= 0.97  # 97.5 % to 98.3 %, by prompts and instruction set
    assert rate_everywhere >= 0.95
    # Two of the thirty differ from the first token on, both at near ties ("def fibonacci(n):", "The river Nile flows").
    assert np.mean(np.array(num_shared) >= 1) >= 0.9
    assert np.mean(num_shared) >= 16
    assert np.mean(errors) < 0.03  # 2.6 % to 3.0 %, as int8 activations give in transformers too
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
