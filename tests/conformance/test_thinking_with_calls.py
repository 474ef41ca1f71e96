"""Thinking with calls behind it: a family's reasoning format before its tool-call format, however the text is cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from fixtures.tool_cases import TOOLS, ToolCase, canonical_cases
from inglenook.text import reasoning
from inglenook.text.tool_formats import registry

FAMILIES = {
    "deepseek_v3": "deepseek_r1",
    "deepseek_v31": "deepseek_v3",
    "hermes": "qwen3",
    "glm45": "glm45",
    "glm47": "glm47",
    "qwen3_coder": "nemotron_v3",
    "kimi_k2": "kimi_k2",
    "minimax_m2": "minimax_m2",
    "seed_oss": "seed_oss",
    "openai": "openai_gptoss",
    "cohere_command3": "cohere_command3",
    "mistral_args": "mistral",
    "granite": "granite",
    "jamba": "hunyuan_a13b",
    "llama3_json": "deepseek_r1",
    "pythonic": "deepseek_r1",
    "olmo3": "olmo3",
}
NAMES = ("a call", "several calls", "text alone", "text before", "cut off")
CASES = [case for case in canonical_cases() if case.format in FAMILIES and case.name in NAMES]
THOUGHT = "A call {now()} or <tool_call>?"
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def parsed(case: ToolCase, pieces: Iterable[str], *, is_open: bool) -> tuple[str, str, list[tuple[str, str]]]:
    tool_parser = registry.find(case.format).parser(TOOLS)
    parser = reasoning.find(FAMILIES[case.format]).parser(tool_parser, is_open=is_open)
    results = [*map(parser.push, pieces), parser.finish()]
    calls: list[tuple[str, str]] = []
    for delta in (delta for result in results for delta in result.tool_calls):
        if delta.name is not None:
            calls.append((delta.name, ""))
        else:
            calls[-1] = (calls[-1][0], calls[-1][1] + delta.arguments)
    return "".join(result.reasoning for result in results), "".join(result.content for result in results), calls


@each_case
@pytest.mark.parametrize("is_open", [False, True])
def test_thinking_then_calls(case: ToolCase, is_open: bool) -> None:
    form = reasoning.find(FAMILIES[case.format])
    text = f"{'' if is_open else form.begin}{THOUGHT}{form.end}{case.text}"
    expected = THOUGHT, case.content, list(case.calls)
    assert parsed(case, [text], is_open=is_open) == expected
    assert parsed(case, text, is_open=is_open) == expected
    assert parsed(case, [text[start : start + 7] for start in range(0, len(text), 7)], is_open=is_open) == expected


@each_case
def test_calls_without_thinking(case: ToolCase) -> None:
    assert parsed(case, case.text, is_open=False) == ("", case.content, list(case.calls))
