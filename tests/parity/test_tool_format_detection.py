"""Which format is detected for the chat templates that public models ship."""

from __future__ import annotations

import pytest

from fixtures.model_templates import model_templates
from inglenook.text.tool_formats import registry

EXPECTED = {
    "hermes": (
        "QwQ-32B",
        "qwen3",
        "Qwen3-Instruct",
        "Qwen3-VL-Instruct",
        "XiYanSQL-QwenCoder-2504",
        "trl:qwen2_5_training",
    ),
    "llama3_json": ("HuatuoGPT-o1-LLaMA-3.1", "trl:llama3_2"),
    "mistral_list": ("mistral-instruct-v0.3", "mistral-large-instruct"),
    "generic": ("Yi-1.5-chat", "gemma-3-1b-it", "llama-3-instruct", "mistral-instruct-v0.1", "trl:phi3", "trl:smolvlm"),
}


@pytest.mark.parametrize(
    ("expected", "model"), [(name, model) for name, models in EXPECTED.items() for model in models]
)
def test_real_templates_tell_their_format(expected: str, model: str) -> None:
    assert registry.detect(model_templates()[model], frozenset()).name == expected
