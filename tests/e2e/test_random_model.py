"""Random weights, the best adversary: they write whatever they may, in each family's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from inglenook import LLM
from inglenook.text import reasoning
from inglenook.text.tool_formats import registry

QUESTION = [{"role": "user", "content": "Hi"}]
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 5},
        "days": {"type": "integer", "minimum": 1, "maximum": 30},
        "unit": {"enum": ["c", "f"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}model: "
NUM_SEEDS = 8


def check(answer: Any) -> None:
    assert (answer.finish_reason, answer.text) == ("tool_calls", "")
    [call] = answer.tool_calls
    assert call.name == "f"
    validate(json.loads(call.arguments), PARAMETERS)


@pytest.mark.parametrize("name", registry.names())
def test_every_familys_calls(name: str, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{{ tools | tojson if tools else '' }}" + TEMPLATE)
    with LLM("dummy:tiny", seed=0, tool_call_parser=name, chat_template=str(template)) as llm:
        options: Any = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 400}
        for seed in range(NUM_SEEDS):
            check(llm.chat(QUESTION, seed=seed, temperature=1.5, **options))
        answer = llm.chat(QUESTION, seed=0, temperature=1.5, **options)
        again = llm.chat(QUESTION, seed=0, temperature=1.5, **options)
        assert answer.token_ids == again.token_ids


@pytest.mark.parametrize("name", ["deepseek_r1", "granite", "kimi", "ernie45", "hunyuan_a13b", "openai_gptoss"])
def test_thinking_ends_in_time_and_an_object_follows(name: str, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(TEMPLATE + reasoning.find(name).begin)
    with LLM("dummy:tiny", seed=0, reasoning_parser=name, chat_template=str(template)) as llm:
        for seed in range(NUM_SEEDS):
            answer = llm.chat(
                QUESTION,
                seed=seed,
                temperature=1.5,
                max_tokens=300,
                thinking_token_budget=20,
                structured_outputs={"json": PARAMETERS},
            )
            assert answer.finish_reason == "stop"
            validate(json.loads(answer.text), PARAMETERS)
            assert 0 < len(answer.reasoning.encode()) <= 20 + 40  # bytes that are no character take three
