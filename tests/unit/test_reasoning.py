from __future__ import annotations

from typing import Any

import pytest

from inglenook.errors import ConfigError
from inglenook.text import reasoning
from inglenook.text.reasoning_options import template_kwargs
from inglenook.types import ReasoningOptions

QWEN3 = (
    "{%- set content = message.content.split('</think>')[-1] %}{%- if enable_thinking is defined and "
    "enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
)
GPT_OSS = (
    '{%- if reasoning_effort is not defined %}{%- set reasoning_effort = "medium" %}{%- endif %}'
    "{{- '<|channel|>analysis<|message|>' + message.thinking }}{% if 'thinking' in message %}{% endif %}"
)
GRANITE = "{%- if thinking %}{{- \"Write your thoughts after 'Here is my thought process:' and so on\" }}{%- endif %}"
SEED = "{%- if thinking_budget is defined %}{{ '<seed:think>' }}{%- endif %}"
LEVELS = "{% if reasoning_effort == 'none' %}{% elif reasoning_effort == 'high' %}[THINK]{% endif %}"
R1 = "{{ '<｜Assistant｜><think>\\n' }}{% set content = content.split('</think>')[-1] %}"
PLAIN = "{{ message['content'] }} thinking enable_thinking"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (QWEN3, "deepseek_r1"),
        (R1, "deepseek_r1"),
        (GPT_OSS, "openai_gptoss"),
        (GRANITE, "granite"),
        (SEED, "seed_oss"),
        (LEVELS, "mistral"),
        ("<think>{{ x }}</think>\n<answer>", "hunyuan_a13b"),
        ("<think></think><response></response>", "ernie45"),
        ("◁think▷{{ x }}◁/think▷", "kimi"),
        ("<think></think> <|tool_calls_section_begin|>", "kimi_k2"),
        ("<|START_THINKING|><|START_RESPONSE|>", "cohere_command3"),
        ("<|START_THINKING|><|START_TEXT|>", "cohere_command4"),
        ("<thought>\n{{ x }}</thought>", "exaone"),
        ("<|channel>thought\n<channel|>", "gemma4"),
        ("{{ '<|inner_prefix|>' }}{{ '<|inner_suffix|>' }}", "apertus"),
        (PLAIN, None),
        ("", None),
    ],
)
def test_templates_show_the_format(template: str, name: str | None) -> None:
    found = reasoning.detect(template, frozenset())
    assert (None if found is None else found.name) == name


def test_every_name_finds_a_format() -> None:
    assert {"deepseek_r1", "qwen3", "glm45", "granite", "openai_gptoss", "mistral"} <= set(reasoning.names())
    assert len(set(reasoning.names())) == len(reasoning.names())
    for name in reasoning.names():
        found = reasoning.find(name)
        assert found.begin and found.end
    with pytest.raises(ConfigError, match="qwen3"):
        reasoning.find("qwen")


@pytest.mark.parametrize(
    ("name", "prompt", "is_open"),
    [
        ("deepseek_r1", "<｜Assistant｜><think>\n", True),
        ("qwen3", "<|im_start|>assistant\n<think>", True),
        ("qwen3", "<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("qwen3", "<|im_start|>assistant\n", False),
        ("qwen3", "Say <think> to think<|im_end|>\n<|im_start|>assistant\n", False),
        ("deepseek_v31", "<｜Assistant｜></think>", False),
        ("glm45", "<|assistant|>\n<think></think>", False),
        ("cohere_command3", "<|CHATBOT_TOKEN|><|START_THINKING|>", True),
        ("cohere_command3", "<|CHATBOT_TOKEN|><|START_THINKING|><|END_THINKING|>", False),
        ("exaone", "[|assistant|]<thought>\n", True),
        ("gemma4", "<|turn>model\n<|channel>thought\n", True),
        ("gemma4", "<|turn>model\n<|channel>thought\n<channel|>", False),
        ("openai_gptoss", "<|start|>assistant", False),
        ("openai_gptoss", "<|start|>assistant<|channel|>analysis<|message|>", True),
    ],
)
def test_prompts_that_have_begun_the_thinking(name: str, prompt: str, is_open: bool) -> None:
    assert reasoning.find(name).is_open(prompt) is is_open


@pytest.mark.parametrize(
    ("template", "options", "kwargs"),
    [
        (QWEN3, ReasoningOptions(), {}),
        (QWEN3, ReasoningOptions(is_enabled=False), {"enable_thinking": False}),
        (QWEN3, ReasoningOptions(effort="none"), {"enable_thinking": False}),
        (QWEN3, ReasoningOptions(effort="low"), {"enable_thinking": True}),
        (QWEN3, ReasoningOptions(max_tokens=5), {}),
        (GRANITE, ReasoningOptions(is_enabled=True), {"thinking": True}),
        (GPT_OSS, ReasoningOptions(effort="high"), {"reasoning_effort": "high"}),
        (GPT_OSS, ReasoningOptions(effort="max"), {"reasoning_effort": "high"}),
        (GPT_OSS, ReasoningOptions(effort="minimal"), {"reasoning_effort": "low"}),
        (GPT_OSS, ReasoningOptions(effort="none", is_enabled=False), {"reasoning_effort": "low"}),
        (GPT_OSS, ReasoningOptions(is_enabled=True), {}),
        (LEVELS, ReasoningOptions(effort="none"), {"reasoning_effort": "none"}),
        (LEVELS, ReasoningOptions(effort="low"), {"reasoning_effort": "high"}),
        (LEVELS, ReasoningOptions(is_enabled=True), {"reasoning_effort": "high"}),
        (SEED, ReasoningOptions(max_tokens=512), {"thinking_budget": 512}),
        (SEED, ReasoningOptions(is_enabled=False), {"thinking_budget": 0}),
        ("{% if thinking_mode == 'enabled' %}", ReasoningOptions(is_enabled=False), {"thinking_mode": "disabled"}),
        (R1, ReasoningOptions(is_enabled=False), {}),
        (PLAIN, ReasoningOptions(effort="high"), {}),
    ],
)
def test_templates_get_what_they_read(template: str, options: ReasoningOptions, kwargs: dict[str, Any]) -> None:
    assert template_kwargs(options, template) == kwargs
