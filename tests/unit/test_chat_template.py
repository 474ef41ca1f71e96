from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fixtures.chat_templates import MISTRAL_STRICT, SMOLLM2
from fixtures.vocabularies import byte_level_metadata, sentencepiece_metadata
from inglenook.errors import CheckpointError, ConfigError, InvalidRequestError
from inglenook.text import chat_template
from inglenook.text.chat_template import ChatTemplate, find_template
from inglenook.text.tokenizer import Tokenizer

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
USER = {"role": "user", "content": "Hi"}


def render(source: str, messages: list[dict[str, Any]] | None = None, **options: Any) -> str:
    return ChatTemplate(source, TOKENS).render([USER] if messages is None else messages, **options)


def test_default_model() -> None:
    assert render(SMOLLM2) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_whitespace_of_blocks() -> None:
    source = "  {% if true %}\nx\n  {% endif %}\n{# note #}\ny{% for i in range(2) %}\n {{ i }}\n{%- endfor %}"
    assert render(source) == "x\ny 0 1"


def test_tojson_keeps_characters() -> None:
    message = {"role": "user", "content": "", "x": {"b": "<é'>", "a": [1, 2.5, None, True]}}
    assert render("{{ messages[0].x | tojson }}", [message]) == '{"b": "<é\'>", "a": [1, 2.5, null, true]}'
    assert render("{{ messages[0].x.a | tojson(indent=1) }}", [message]) == "[\n 1,\n 2.5,\n null,\n true\n]"


def test_variables() -> None:
    source = (
        "{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ x }}"
    )
    assert render(source, x=5) == "<s></s>TrueTrueTrue5"
    assert render("{{ eos_token }}", eos_token="END") == "END", "arguments go before the model's tokens"


def test_none_counts_as_not_given() -> None:
    message = {"role": "assistant", "content": "x", "tool_calls": None}
    assert render("{{ 'tool_calls' in messages[0] }}", [message]) == "False"


def test_reasoning_is_found_under_every_name() -> None:
    message = {"role": "assistant", "content": "x", "reasoning": "hm"}
    assert render("{{ messages[0].reasoning_content }}{{ messages[0].thinking }}", [message]) == "hmhm"


def test_loop_controls_and_generation_blocks() -> None:
    body = "{% if i == 2 %}{% break %}{% endif %}{% generation %}{{ i }}{% endgeneration %}"
    source = "{% for i in range(9) %}" + body + "{% endfor %}"
    assert render(source) == "01"


def test_continue_final_message() -> None:
    messages = [USER, {"role": "assistant", "content": "Once upon "}]
    options = {"add_generation_prompt": False, "continue_final_message": True}
    assert render(SMOLLM2, messages, **options).endswith("<|im_start|>assistant\nOnce upon ")
    stripping = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }};{% endfor %}"
    assert render(stripping, messages, **options) == "user: Hi;assistant: Once upon"


def test_continue_and_generate_contradict_each_other() -> None:
    with pytest.raises(InvalidRequestError, match="both") as error:
        render(SMOLLM2, continue_final_message=True)
    assert error.value.param == "continue_final_message"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (SMOLLM2, {"role": "assistant"}),
        ("{{ messages[0].role }}", {"role": "assistant", "content": "x"}),
        ("{{ messages[0].content | length }}", {"role": "assistant", "content": "x"}),
    ],
)
def test_nothing_to_continue(source: str, message: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as error:
        render(source, [message], add_generation_prompt=False, continue_final_message=True)
    assert error.value.param == "continue_final_message"


def test_refusal_has_the_templates_words() -> None:
    with pytest.raises(InvalidRequestError, match="roles must alternate") as error:
        render(MISTRAL_STRICT, [USER, USER])
    assert error.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content + messages[0].nothing }}",
        "{{ messages[0].content.nothing() }}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content.x }}",
        "{% include 'x' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_failure_while_rendering(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="chat template failed"):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ namespace(__class__=1) }}",
        "{% set n = namespace() %}{% set n._x = 1 %}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_templates_stay_in_the_sandbox(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="chat template failed"):
        render(source)


@pytest.mark.parametrize("name", ["raise_exception.__globals__", "dict.__call__", "''.__class__", "namespace.__init__"])
def test_insides_of_objects_are_undefined(name: str) -> None:
    assert render(f"{{{{ {name} is defined }}}}") == "False"


def test_messages_are_copied() -> None:
    """A template gets JSON's types only, and can't change the caller's messages."""
    with pytest.raises(InvalidRequestError, match="object"):
        render(SMOLLM2, [{"role": "user", "content": object()}])


def test_deep_nesting() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(InvalidRequestError, match="nested"):
        render(SMOLLM2, tools=value)


def test_runaway_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "MAX_PROMPT_CHARACTERS", 1000)
    with pytest.raises(InvalidRequestError, match="1000 characters"):
        render("{% for i in range(99999) %}{% for i in range(99999) %}x{% endfor %}{% endfor %}")


def test_invalid_template() -> None:
    source = "{% for m in messages %}\n{% endif %}"
    with pytest.raises(CheckpointError, match="line 2"):
        ChatTemplate(source, {}).compile()
    with pytest.raises(ConfigError, match="--chat-template"):
        ChatTemplate(source, {}, is_override=True).compile()


def test_no_messages() -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        render(SMOLLM2, [])


def test_threads_share_a_template() -> None:
    template = ChatTemplate(SMOLLM2, {})
    with ThreadPoolExecutor(8) as pool:
        prompts = list(pool.map(lambda i: template.render([{"role": "user", "content": f"<{i}>"}]), range(64)))
    assert all(f"user\n<{i}><|im_end|>" in prompt for i, prompt in enumerate(prompts))


def test_which_template_is_found() -> None:
    metadata = byte_level_metadata()
    with_own = Tokenizer.from_gguf({**metadata, "tokenizer.chat_template": "own {{ eos_token }}"})
    own = find_template(with_own)
    assert own is not None and own.render([USER]) == "own <|im_end|>"
    override = find_template(with_own, "given {{ bos_token }}")
    assert override is not None and override.render([USER]) == "given <|im_start|>"
    fallback = find_template(Tokenizer.from_gguf(metadata))
    assert fallback is not None
    assert fallback.render([USER]) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert find_template(Tokenizer.from_gguf(sentencepiece_metadata())) is None, "ChatML's tokens aren't there"
