"""Tokens of thinking are counted exactly, however a family marks it and however many tokens come at a time."""

from __future__ import annotations

import pytest

from fixtures.scripted_engine import scripted_backend
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.text import reasoning
from inglenook.types import ChatRequest, Delta, Message, ReasoningOptions, SamplingParams, Usage

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"

# Each mark is one token, everything else a token a byte. (format, prompt, answer, tokens of thinking)
CASES = [
    ("deepseek_r1", "Hi", "<think>Hm.</think>\n\nYes", 5),
    ("deepseek_r1", "Hi", "\n<think>\nHm.\n</think>Yes", 8),
    ("deepseek_r1", "Hi", "Yes, <think>no</think>", 0),
    ("deepseek_r1", "Hi", "Yes", 0),
    ("deepseek_r1", "Hi", "", 0),
    ("deepseek_r1", "Hi<think>\n", "Hm.</think>Yes", 4),
    ("deepseek_r1", "Hi<think>\n", "Hm", 2),
    ("mistral", "Hi", "[THINK]a[/THINK]b", 3),
    ("kimi_k2", "Hi", "<think>ab<|tool_calls_section_begin|>x", 3),
    (
        "openai_gptoss",
        "Hi",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes",
        14,
    ),
    (
        "openai_gptoss",
        "Hi",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Yes",
        12 + 22,
    ),
    ("openai_gptoss", "Hi", "<|channel|>final<|message|>Yes", 0),
    ("granite", "Hi", "Here is my thought process: a Here is my response: b", 50),
]


async def usage(name: str, prompt: str, answer: str, step: int, options: ReasoningOptions) -> Usage:
    tokenizer = byte_tokenizer(reasoning.find(name).special_tokens)
    backend, _ = scripted_backend(tokenizer, TEMPLATE, [answer], step=step, reasoning_parser=name)
    request = ChatRequest("r", "m", SamplingParams(), messages=(Message("user", prompt),), reasoning=options)
    last: Delta | None = None
    async for delta in backend.chat(request):
        last = delta
    assert last is not None
    assert last.usage is not None
    return last.usage


@pytest.mark.parametrize(("name", "prompt", "answer", "expected"), CASES)
@pytest.mark.parametrize("step", [1, 2, 100])
async def test_counted(name: str, prompt: str, answer: str, expected: int, step: int) -> None:
    for options in (ReasoningOptions(), ReasoningOptions(is_included=False)):
        assert (await usage(name, prompt, answer, step, options)).reasoning_tokens == expected


async def test_thinking_that_stays_in_the_content_is_content() -> None:
    options = ReasoningOptions(is_separate=False)
    assert (await usage("deepseek_r1", "Hi", "<think>Hm.</think>Yes", 1, options)).reasoning_tokens == 0
