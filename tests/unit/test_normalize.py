from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.chat_templates import LLAMA3, MISTRAL_STRICT, MISTRAL_WITH_SYSTEM, QWEN3, SMOLLM2, TEMPLATES
from fixtures.message_lists import WEATHER, call, chats, tool_use
from inglenook.errors import InvalidRequestError
from inglenook.text.chat_shape import shape_of
from inglenook.text.chat_template import ChatTemplate
from inglenook.text.normalize import RenderedChat, message_dicts, render_chat
from inglenook.types import Message, ToolUse

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
# A system message first, then users and assistants in turn: Mistral's newer templates.
SYSTEM_FIRST_ONLY = (
    "{% if messages[0].role == 'system' %}[S]{{ messages[0].content }}[/S]{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if m.role != ['user', 'assistant'][loop.index0 % 2] %}"
    "{{ raise_exception('order') }}{% endif %}[{{ m.role[0] }}]{{ m.content }}{% endfor %}"
)
# Later system messages are left out without a word, as in many templates.
SYSTEM_LOST = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{% continue %}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
# Ids of nine letters or digits, one call a turn, arguments as an object; what is said beside a call is left out.
CALLS_STRICT = (
    "{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length > 1 %}{{ raise_exception('one call') }}"
    "{% endif %}{% set call = m.tool_calls[0] %}{% if call.id | length != 9 %}{{ raise_exception('id') }}{% endif %}"
    "[CALL {{ call.id }} {{ call.function.name }}{% for k, v in call.function.arguments.items() %} {{ k }}={{ v }}"
    "{% endfor %}]{% elif m.role == 'tool' %}[RESULT {{ m.tool_call_id }} {{ m.content }}]"
    "{% else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
PARTS = "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
NAMED = "{% for m in messages %}{{ m.role }}{{ ' ' ~ m.name if m.name }}: {{ m.content }};{% endfor %}"
STRICT_ONES = {
    "mistral": MISTRAL_STRICT,
    "system first": SYSTEM_FIRST_ONLY,
    "system lost": SYSTEM_LOST,
    "calls": CALLS_STRICT,
    "parts": PARTS,
    "llama3": LLAMA3,
    "qwen3": QWEN3,
}


def messages(*turns: str) -> list[Message]:
    """ "u: text" is a user's turn, "s:" a system message, "a:" the assistant's."""
    roles = {"u": "user", "s": "system", "a": "assistant", "d": "developer"}
    return [Message(roles[turn[0]], turn[3:]) for turn in turns]


def calling(*calls: dict[str, Any], content: str | None = None) -> Message:
    return Message("assistant", content, extra={"tool_calls": list(calls)})


def render(source: str, chat: list[Message], **options: Any) -> RenderedChat:
    return render_chat(ChatTemplate(source, TOKENS), chat, **options)


# --- taken as given --------------------------------------------------------------------------------


def test_taken_as_given() -> None:
    rendered = render(SMOLLM2, messages("s: Be brief.", "u: Hi"))
    assert rendered.prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert rendered.warnings == ()


def test_default_model_takes_only_assistants() -> None:
    """AgentScope 0.0.1 sends every message as the assistant's; a new turn is opened all the same."""
    rendered = render(SMOLLM2, messages("a: You are Bob.", "a: Hello"))
    assert rendered.prompt.endswith(
        "<|im_start|>assistant\nYou are Bob.<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered.warnings == ()


def test_default_model_takes_an_empty_system_message() -> None:
    rendered = render(SMOLLM2, messages("s: ", "u: Hi"))
    assert rendered.prompt.startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>")


def test_mistral_template_with_a_system_role() -> None:
    """As given, for the conversation of AutoGen's document: an empty system message, the assistant begins."""
    rendered = render(MISTRAL_WITH_SYSTEM, messages("s: ", "a: How can I help you today?", "u: Why is the sky blue?"))
    assert rendered.warnings == ()
    assert " ".join(rendered.prompt.split()) == (
        "<s> [INST] [/INST] How can I help you today?</s> [INST] Why is the sky blue? [/INST]"
    )


def test_long_conversations_are_taken_too() -> None:
    chat = messages("s: Rules.", *["u: Hi", "a: Yo"] * 200, "u: Bye")
    rendered = render(SYSTEM_FIRST_ONLY, chat)
    assert rendered.prompt.count("[u]") == 201
    assert rendered.warnings == ()
    assert render(SYSTEM_FIRST_ONLY, [*chat[:200], *messages("u: Ha"), *chat[200:]]).warnings


@pytest.mark.parametrize("turns", [("u",), ("u", "a"), ("u", "a", "t")])
def test_shapes_of_long_conversations_are_few_and_keep_even_places_even(turns: tuple[str, ...]) -> None:
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    shapes = set()
    for repeats in range(1, 40):
        chat = [{"role": roles[turn], "content": "x"} for turn in turns * repeats]
        shape = shape_of(
            chat, has_tools=False, has_documents=False, opens_turn=True, continues=False, kwargs={}
        ).messages
        assert (len(chat) - len(shape)) % 2 == 0
        assert [m.role for m in shape] == [m["role"] for m in chat[: len(shape)]]
        shapes.add(shape)
    assert len(shapes) <= 6


# --- roles and their order -------------------------------------------------------------------------


def test_refused_system_message_goes_into_the_user_turn() -> None:
    rendered = render(MISTRAL_STRICT, messages("s: Be brief.", "u: Hi", "a: Yo", "u: Bye"))
    assert rendered.prompt == "<s>[INST] Be brief.\n\nHi [/INST]Yo</s>[INST] Bye [/INST]"
    assert rendered.warnings == ("The chat template takes no system message there; its text was put into a user turn.",)


def test_refused_empty_system_message() -> None:
    rendered = render(MISTRAL_STRICT, messages("s: ", "u: Hi"))
    assert rendered.prompt == "<s>[INST] Hi [/INST]"
    assert len(rendered.warnings) == 1


def test_neighbours_are_joined() -> None:
    rendered = render(MISTRAL_STRICT, messages("u: a", "u: b", "a: c", "a: d", "u: e"))
    assert rendered.prompt == "<s>[INST] a\n\nb [/INST]c\n\nd</s>[INST] e [/INST]"
    assert len(rendered.warnings) == 1 and "alternating" in rendered.warnings[0]


def test_a_first_system_message_stays_where_only_later_ones_are_refused() -> None:
    chat = messages("s: Rules.", "u: Hi", "a: Yo", "s: Who speaks next?")
    rendered = render(SYSTEM_FIRST_ONLY, chat)
    assert rendered.prompt == "[S]Rules.[/S][u]Hi[a]Yo[u]Who speaks next?"
    assert len(rendered.warnings) == 1
    rendered = render(MISTRAL_STRICT, chat)
    assert rendered.prompt == "<s>[INST] Rules.\n\nHi [/INST]Yo</s>[INST] Who speaks next? [/INST]"


def test_what_a_template_would_leave_out_is_moved() -> None:
    rendered = render(SYSTEM_LOST, messages("s: Rules.", "u: Hi", "s: Now.", "u: Ho"))
    assert rendered.prompt == "<system>Rules.<user>Hi<user>Now.\n\nHo<assistant>"
    assert len(rendered.warnings) == 1


def test_several_system_messages_are_joined() -> None:
    rendered = render(SYSTEM_FIRST_ONLY, messages("s: One.", "s: Two.", "u: Hi"))
    assert rendered.prompt == "[S]One.\n\nTwo.[/S][u]Hi"
    assert len(rendered.warnings) == 1


def test_group_chat_on_a_strict_template() -> None:
    """AutoGen 0.2: names, empty content, and the choice of the next speaker as a system message at the end."""
    chat = [
        Message("system", "You are in a role play game."),
        Message("user", "Plan a trip.", name="Admin"),
        Message("user", "", name="Admin"),
        Message("user", "I suggest Rome.", name="Planner"),
        Message("assistant", "Agreed.", name="Critic"),
        Message("system", "Who speaks next?", name="checking_agent"),
    ]
    rendered = render(MISTRAL_STRICT, chat)
    assert rendered.prompt == (
        "<s>[INST] You are in a role play game.\n\nAdmin: Plan a trip.\n\nPlanner: I suggest Rome. [/INST]"
        "Agreed.</s>[INST] Who speaks next? [/INST]"
    )
    assert [warning.split(";")[0] for warning in rendered.warnings] == [
        "The chat template leaves out names",
        "The chat template takes no system message there",
        "The chat template wants alternating roles",
    ]


def test_an_assistant_first() -> None:
    rendered = render(MISTRAL_STRICT, messages("s: Rules.", "a: How can I help?", "u: Sky?"))
    assert rendered.prompt == "<s>[INST] Rules. [/INST]How can I help?</s>[INST] Sky? [/INST]"
    rendered = render(MISTRAL_STRICT, messages("a: How can I help?", "u: Sky?"))
    assert rendered.prompt == "<s>[INST]  [/INST]How can I help?</s>[INST] Sky? [/INST]"
    assert "an empty one" in rendered.warnings[0]


def test_nothing_but_assistants_on_a_strict_template() -> None:
    rendered = render(MISTRAL_STRICT, messages("a: You are Bob.", "a: Hello"))
    assert rendered.prompt == "<s>[INST] You are Bob.\n\nHello [/INST]"


def test_an_assistant_last_is_answered_or_carried_on() -> None:
    chat = messages("u: Hi", "a: Yo")
    assert render(MISTRAL_STRICT, chat).prompt == "<s>[INST] Hi [/INST]Yo</s>[INST]  [/INST]"
    carried_on = render(MISTRAL_STRICT, chat, add_generation_prompt=False, continue_final_message=True)
    assert (carried_on.prompt, carried_on.warnings) == ("<s>[INST] Hi [/INST]Yo", ())


def test_developer_and_unknown_roles() -> None:
    rendered = render(SYSTEM_FIRST_ONLY, [*messages("d: Rules.", "u: Hi"), Message("critic", "Bad.")])
    assert rendered.prompt == "[S]Rules.[/S][u]Hi\n\ncritic: Bad."
    assert any("'critic'" in warning for warning in rendered.warnings)
    assert render(SMOLLM2, [Message("critic", "Bad.")]).warnings == ()


def test_names_are_folded_in_only_where_they_are_left_out() -> None:
    chat = [Message("user", "Hi", name="Ann"), Message("assistant", "Yo"), Message("user", "Ho", name="Bob")]
    assert render(NAMED, chat[:1]).prompt == "user Ann: Hi;"
    assert render(SMOLLM2, chat[:1]).warnings == ()
    rendered = render(SMOLLM2, chat)
    assert "user\nAnn: Hi<" in rendered.prompt and "user\nBob: Ho<" in rendered.prompt
    assert len(rendered.warnings) == 1
    source = NAMED + "{% if add_generation_prompt %}assistant:{% endif %}"
    assert render(source, chat) == RenderedChat("user Ann: Hi;assistant: Yo;user Bob: Ho;assistant:")


def test_content_as_parts() -> None:
    assert render(PARTS, messages("u: Hi")) == RenderedChat("<user>Hi")


def test_documents() -> None:
    documents = [{"title": "Sky", "text": "It is blue."}]
    rendered = render(SMOLLM2, messages("s: Rules.", "u: Why?"), documents=documents)
    assert "system\nRules.\n\nDocument 1\ntitle: Sky\ntext: It is blue.<|im_end|>" in rendered.prompt
    assert len(rendered.warnings) == 1
    assert render(TEMPLATES["command-r"], messages("u: Why?"), documents=documents).warnings == ()


# --- tools -----------------------------------------------------------------------------------------


def test_tools_are_explained_where_the_template_knows_nothing_of_them() -> None:
    chat = [
        *messages("s: Rules.", "u: Rome?"),
        calling(call("weather", "call_1", city="Rome")),
        Message("tool", "Sunny.", extra={"tool_call_id": "call_1"}),
    ]
    rendered = render(SMOLLM2, chat, tool_use=WEATHER)
    assert rendered.uses_generic_tools
    assert rendered.prompt.startswith("<|im_start|>system\nRules.\n\nYou can call these functions:")
    assert 'assistant\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>' in (
        rendered.prompt
    )
    assert "user\n<tool_response>\nresult of weather:\nSunny.\n</tool_response><|im_end|>" in rendered.prompt
    native = render(QWEN3, chat, tool_use=WEATHER)
    assert not native.uses_generic_tools and native.warnings == ()


def test_tools_that_may_not_be_called_are_not_explained() -> None:
    rendered = render(SMOLLM2, messages("u: Hi"), tool_use=ToolUse(WEATHER.tools, "none"))
    assert not rendered.uses_generic_tools
    assert "weather" not in rendered.prompt


def test_results_of_one_turn_share_a_user_turn() -> None:
    chat = [
        *messages("u: Rome and Oslo?"),
        calling(call("weather", "a", city="Rome"), call("weather", "b", city="Oslo"), content="Let me see."),
        Message("tool", "Sunny.", extra={"tool_call_id": "a"}),
        Message("tool", "Snow.", extra={"tool_call_id": "b"}),
    ]
    rendered = render(MISTRAL_STRICT, chat)
    assert rendered.prompt.count("[INST]") == 2
    assert rendered.prompt.index("Let me see.") < rendered.prompt.index("Rome", 20) < rendered.prompt.index("Sunny.")


def test_legacy_functions_become_tool_calls() -> None:
    chat = [
        *messages("u: Rome?"),
        Message("assistant", None, extra={"function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}}),
        Message("function", "Sunny.", name="weather"),
    ]
    rendered = render(CALLS_STRICT, chat, tool_use=WEATHER)
    assert rendered.prompt.startswith("<user>Rome?[CALL call00000 weather city=Rome][RESULT call00000 Sunny.]")
    assert rendered.warnings == (
        "function_call and messages of the role function were taken as tool calls and their results.",
    )


def test_results_without_an_id_are_matched_by_name_and_order() -> None:
    chat = [
        *messages("u: Go"),
        calling(call("first", "aaaaaaaaa"), content="x"),
        Message("tool", "1"),
        calling(call("second", "bbbbbbbbb")),
        Message("tool", "2", name="second"),
    ]
    rendered = render(CALLS_STRICT, chat)
    assert "[CALL aaaaaaaaa first][RESULT aaaaaaaaa 1][CALL bbbbbbbbb second][RESULT bbbbbbbbb 2]" in rendered.prompt
    assert any("matched" in warning for warning in rendered.warnings)


def test_results_without_an_id_go_to_the_call_of_their_name() -> None:
    chat = [
        *messages("u: Go"),
        calling(call("f"), call("g")),
        Message("tool", "G", name="g"),
        Message("tool", "F", name="f"),
    ]
    rendered = render(CALLS_STRICT, chat)
    assert "[CALL call00000 f][RESULT call00000 F][CALL call00001 g][RESULT call00001 G]" in rendered.prompt


def test_ids_that_carry_the_name() -> None:
    """Kimi's templates write the id of a call, and no name."""
    source = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content or '' }}{% for c in m.tool_calls or [] %}"
        "[{{ c.id }} {{ c.function.arguments }}]{% endfor %}{{ ' of ' ~ m.tool_call_id if m.tool_call_id }}{% endfor %}"
    )
    chat = [
        *messages("u: Go"),
        calling(call("f", "call_1", x=1)),
        Message("tool", "F", extra={"tool_call_id": "call_1"}),
    ]
    rendered = render(source, chat)
    assert rendered.prompt == '<user>Go<assistant>[functions.f:0 {"x": 1}]<tool>F of functions.f:0'
    assert len(rendered.warnings) == 1
    kept = render(source, [*chat[:1], calling(call("f", "functions.f:7")), *chat[1:]])
    assert "[functions.f:7 {}]" in kept.prompt


def test_the_template_for_tools_where_there_are_some() -> None:
    template = ChatTemplate("usual {{ messages[0].content }}", TOKENS, tool_use="{{ tools }} {{ messages[0].content }}")
    assert render_chat(template, messages("u: Hi")).prompt == "usual Hi"
    with_tools = render_chat(template, messages("u: Hi"), tool_use=WEATHER)
    assert with_tools.prompt.startswith("[{") and with_tools.warnings == ()


def test_ids_parallel_calls_and_what_is_said_beside_them() -> None:
    chat = [
        *messages("u: Go"),
        calling(call("f", "call_abcdefghijkl", x=1), call("g", "call_mnopqrstuvwx", y=2), content="I go."),
        Message("tool", "F", extra={"tool_call_id": "call_abcdefghijkl"}),
        Message("tool", "G", extra={"tool_call_id": "call_mnopqrstuvwx"}),
    ]
    rendered = render(CALLS_STRICT, chat)
    assert rendered.prompt == (
        "<user>Go<assistant>I go.[CALL call00000 f x=1][RESULT call00000 F][CALL call00001 g y=2][RESULT call00001 G]"
        "<assistant>"
    )
    assert len(rendered.warnings) == 3


def test_arguments_as_the_template_wants_them() -> None:
    """That is no change: text and object say the same."""
    as_text = calling(call("f", "a", x=1))
    as_object = calling({"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}})
    for chat in ([*messages("u: Go"), as_text], [*messages("u: Go"), as_object]):
        rendered = render(QWEN3, chat)
        assert '{"name": "f", "arguments": {"x": 1}}' in rendered.prompt
        assert rendered.warnings == ()
        rendered = render(LLAMA3, chat, template_kwargs={"date_string": "2026"})
        assert '{"name": "f", "parameters": {"x": 1}}' in rendered.prompt
        assert rendered.warnings == ()


def test_arguments_that_are_no_json() -> None:
    broken = {"id": "aaaaaaaaa", "type": "function", "function": {"name": "f", "arguments": '{"x": '}}
    rendered = render(CALLS_STRICT, [*messages("u: Go"), calling(broken)])
    assert '[CALL aaaaaaaaa f arguments={"x": ]' in rendered.prompt


# --- refusing --------------------------------------------------------------------------------------


def test_strict_forbids_what_would_be_changed() -> None:
    with pytest.raises(InvalidRequestError, match=r"--strict.*Without it: .*no system message") as error:
        render(MISTRAL_STRICT, messages("s: Be brief.", "u: Hi"), is_strict=True)
    assert error.value.param == "messages"
    assert render(MISTRAL_STRICT, messages("u: Hi"), is_strict=True).prompt == "<s>[INST] Hi [/INST]"
    legacy = [*messages("u: Go"), Message("function", "1", name="f")]
    with pytest.raises(InvalidRequestError, match="function_call"):
        render(QWEN3, legacy, is_strict=True)


def test_a_template_that_refuses_everything() -> None:
    with pytest.raises(InvalidRequestError, match="never"):
        render("{{ raise_exception('never') }}", messages("u: Hi"))


def test_contradicting_options_are_not_adapted() -> None:
    with pytest.raises(InvalidRequestError, match="both"):
        render(MISTRAL_STRICT, messages("u: a", "u: b"), continue_final_message=True)


def test_no_messages() -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        render(SMOLLM2, [])


def test_tool_turns_are_not_joined() -> None:
    call = {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    chat = [
        Message("user", "x"),
        Message("assistant", None, extra=call),
        Message("assistant", None, extra=call),
        Message("tool", "1", extra={"tool_call_id": "a"}),
        Message("tool", "2", extra={"tool_call_id": "b"}),
    ]
    rendered = render(LLAMA3, chat, template_kwargs={"date_string": "2026"})
    assert rendered.prompt.count('{"name": "f", "parameters": {}}<|eot_id|>') == 2


def test_message_dicts() -> None:
    call = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    chat = [Message("user", "x", name="Bob"), Message("assistant", None, extra={"tool_calls": call})]
    assert message_dicts(chat) == [
        {"role": "user", "content": "x", "name": "Bob"},
        {"role": "assistant", "tool_calls": call},
    ]


def test_null_content_where_the_template_needs_a_text() -> None:
    source = "{% for m in messages %}<{{ m.role + '>' + m.content }}{% endfor %}"
    assert render(source, [Message("user", None)]).prompt == "<user>"


def test_template_kwargs() -> None:
    """They come from the client: any name may be among them."""
    source = "{{ messages[0].content }}{{ x }}{{ add_generation_prompt }}{{ self is defined }}{{ template }}"
    kwargs = {"x": 1, "add_generation_prompt": False, "self": 2, "template": 3}
    assert render(source, messages("u: Hi"), template_kwargs=kwargs).prompt == "Hi1FalseTrue3"
    own = "{{ messages[0].content }}{{ tools }}{{ documents }}"
    assert render(own, messages("u: Hi"), template_kwargs={"tools": "T", "documents": "D"}).prompt == "HiTD"
    with pytest.raises(InvalidRequestError) as error:
        render(source, messages("u: Hi"), template_kwargs={"messages": []})
    assert error.value.param == "chat_template_kwargs"


# --- any list at all -------------------------------------------------------------------------------

_TEMPLATES = {name: ChatTemplate(source, TOKENS) for name, source in STRICT_ONES.items()}


@pytest.mark.parametrize("name", STRICT_ONES)
@settings(deadline=None)
@given(chat=chats(), use=tool_use(), is_open=st.booleans())
def test_any_list_is_rendered_and_nothing_is_lost(name: str, chat: list[Message], use: ToolUse, is_open: bool) -> None:
    rendered = render_chat(_TEMPLATES[name], chat, tool_use=use, add_generation_prompt=is_open)
    missing = [message.content for message in chat if message.content and message.content not in rendered.prompt]
    assert missing == [], (rendered, chat)
