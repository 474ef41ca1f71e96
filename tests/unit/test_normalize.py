from __future__ import annotations

import pytest

from fixtures.chat_templates import LLAMA3, MISTRAL_STRICT, SMOLLM2
from inglenook.errors import InvalidRequestError
from inglenook.text.chat_template import ChatTemplate
from inglenook.text.normalize import adapt, message_dicts, render_chat
from inglenook.types import Message

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
# A system message first, then users and assistants in turn: Mistral's newer templates.
SYSTEM_FIRST_ONLY = (
    "{% if messages[0].role == 'system' %}[S]{{ messages[0].content }}[/S]{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if m.role != ['user', 'assistant'][loop.index0 % 2] %}"
    "{{ raise_exception('order') }}{% endif %}[{{ m.role[0] }}]{{ m.content }}{% endfor %}"
)


def messages(*turns: str) -> list[Message]:
    """ "u: text" is a user's turn, "s:" a system message, "a:" the assistant's."""
    roles = {"u": "user", "s": "system", "a": "assistant", "d": "developer"}
    return [Message(roles[turn[0]], turn[3:]) for turn in turns]


def test_taken_as_given() -> None:
    rendered = render_chat(ChatTemplate(SMOLLM2, TOKENS), messages("s: Be brief.", "u: Hi"))
    assert rendered.prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert rendered.warnings == ()


def test_default_model_takes_only_assistants() -> None:
    """AgentScope 0.0.1 sends every message as the assistant's; a new turn is opened all the same."""
    rendered = render_chat(ChatTemplate(SMOLLM2, TOKENS), messages("a: You are Bob.", "a: Hello"))
    assert rendered.prompt.endswith(
        "<|im_start|>assistant\nYou are Bob.<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered.warnings == ()


def test_default_model_takes_an_empty_system_message() -> None:
    rendered = render_chat(ChatTemplate(SMOLLM2, TOKENS), messages("s: ", "u: Hi"))
    assert rendered.prompt.startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>")


def test_refused_system_message_goes_into_the_user_turn() -> None:
    rendered = render_chat(ChatTemplate(MISTRAL_STRICT, TOKENS), messages("s: Be brief.", "u: Hi", "a: Yo", "u: Bye"))
    assert rendered.prompt == "<s>[INST] Be brief.\n\nHi [/INST]Yo</s>[INST] Bye [/INST]"
    assert len(rendered.warnings) == 2


def test_refused_empty_system_message() -> None:
    rendered = render_chat(ChatTemplate(MISTRAL_STRICT, TOKENS), messages("s: ", "u: Hi"))
    assert rendered.prompt == "<s>[INST] Hi [/INST]"
    assert len(rendered.warnings) == 1


def test_neighbours_are_joined() -> None:
    rendered = render_chat(ChatTemplate(MISTRAL_STRICT, TOKENS), messages("u: a", "u: b", "a: c", "a: d", "u: e"))
    assert rendered.prompt == "<s>[INST] a\n\nb [/INST]c\n\nd</s>[INST] e [/INST]"
    assert len(rendered.warnings) == 1 and "alternating" in rendered.warnings[0]


def test_a_first_system_message_stays_where_only_later_ones_are_refused() -> None:
    """AutoGen's group chat ends in a system message."""
    chat = messages("s: Rules.", "u: Hi", "a: Yo", "s: Who speaks next?")
    rendered = render_chat(ChatTemplate(SYSTEM_FIRST_ONLY, TOKENS), chat)
    assert rendered.prompt == "[S]Rules.[/S][u]Hi[a]Yo[u]Who speaks next?"
    assert len(rendered.warnings) == 1
    rendered = render_chat(ChatTemplate(MISTRAL_STRICT, TOKENS), chat)
    assert rendered.prompt == "<s>[INST] Rules.\n\nHi [/INST]Yo</s>[INST] Who speaks next? [/INST]"


def test_what_cannot_be_adapted_is_refused_with_the_first_reason() -> None:
    with pytest.raises(InvalidRequestError, match="alternate"):
        render_chat(ChatTemplate(MISTRAL_STRICT, TOKENS), messages("a: a", "u: b"))


def test_contradicting_options_are_not_adapted() -> None:
    with pytest.raises(InvalidRequestError, match="both"):
        render_chat(ChatTemplate(MISTRAL_STRICT, TOKENS), messages("u: a", "u: b"), continue_final_message=True)


def test_tool_turns_are_not_joined() -> None:
    call = {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    chat = [
        Message("user", "x"),
        Message("assistant", None, extra=call),
        Message("assistant", None, extra=call),
        Message("tool", "1", extra={"tool_call_id": "a"}),
        Message("tool", "2", extra={"tool_call_id": "b"}),
    ]
    rendered = render_chat(ChatTemplate(LLAMA3, TOKENS), chat, template_kwargs={"date_string": "2026"})
    assert rendered.prompt.count('{"name": "f", "parameters": {}}<|eot_id|>') == 2


def test_tool_results_are_not_joined() -> None:
    chat = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    assert adapt(chat) == (chat, [])


def test_message_dicts() -> None:
    call = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    chat = [Message("user", "x", name="Bob"), Message("assistant", None, extra={"tool_calls": call})]
    assert message_dicts(chat) == [
        {"role": "user", "content": "x", "name": "Bob"},
        {"role": "assistant", "content": "", "tool_calls": call},
    ]


def test_template_kwargs() -> None:
    """They come from the client: any name may be among them."""
    source = "{{ x }}{{ add_generation_prompt }}{{ self is defined }}{{ template }}"
    kwargs = {"x": 1, "add_generation_prompt": False, "self": 2, "template": 3}
    rendered = render_chat(ChatTemplate(source, TOKENS), messages("u: Hi"), template_kwargs=kwargs)
    assert rendered.prompt == "1FalseTrue3"
    with pytest.raises(InvalidRequestError) as error:
        render_chat(ChatTemplate(source, TOKENS), messages("u: Hi"), template_kwargs={"messages": []})
    assert error.value.param == "chat_template_kwargs"
