"""What a chat template takes, found by probing it once: which roles, in which order, tools, names, forms of content."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from inglenook.text.chat_shape import CallShape, ChatShape, IdStyle, MessageShape, takes
from inglenook.text.chat_template import ChatTemplate

_ID_STYLES: tuple[IdStyle, ...] = ("short", "named", "other", "missing")


@dataclass(frozen=True)
class TemplateTraits:
    """ "Takes" means that nothing is refused and nothing left out. Neighbours are two turns of one role in a row."""

    wants_parts: bool = False  # content as a list of parts, not as text
    takes_system: bool = False  # before the first turn
    takes_several_systems: bool = False
    takes_late_system: bool = False  # between two turns
    takes_neighbours: frozenset[str] = frozenset()
    takes_assistant_first: bool = False
    takes_assistant_last: bool = False  # and opens a new turn behind it
    shows_names: frozenset[str] = frozenset()  # of which roles
    takes_missing_content: bool = False  # of an assistant that calls tools
    shows_tools: bool = False
    takes_calls: bool = False  # an assistant's call, and its result behind it
    takes_parallel_calls: bool = False
    takes_text_with_calls: bool = False
    takes_ids: frozenset[IdStyle] = frozenset()
    shows_documents: bool = False
    arguments: Literal["any", "object", "text"] = "text"


STRICTEST = TemplateTraits()  # takes users and assistants in turn, beginning with a user


@lru_cache(maxsize=64)
def traits_of(template: ChatTemplate, *, has_tools: bool) -> TemplateTraits:
    """`has_tools`: as it is where tools are given; some templates show calls only then."""
    user, assistant, system = (MessageShape(role, "text") for role in ("user", "assistant", "system"))
    wants_parts = not _takes(template, user) and _takes(template, replace(user, content="parts"))
    if wants_parts:
        user, assistant, system = (replace(message, content="parts") for message in (user, assistant, system))
    shows_tools = _takes(template, user, tools=True)
    tools = has_tools and shows_tools

    def call(*calls: CallShape, text: bool = False, missing: bool = False) -> MessageShape:
        content: Literal["missing", "empty"] = "missing" if missing else "empty"
        return MessageShape("assistant", assistant.content if text else content, calls=calls)

    def result(shape: CallShape) -> MessageShape:
        return MessageShape("tool", user.content, answers=shape.id_style)

    def takes_calls(*turns: MessageShape) -> bool:
        return _takes(template, user, *turns, tools=tools)

    shapes = [CallShape(style, is_text) for style in _ID_STYLES for is_text in (False, True)]
    taken = [shape for shape in shapes if takes_calls(call(shape), result(shape))]
    one = taken[0] if taken else shapes[0]
    forms = {shape.is_text for shape in taken}
    both = replace(assistant, speaker=0), replace(assistant, speaker=1)
    return TemplateTraits(
        wants_parts=wants_parts,
        takes_system=_takes(template, system, user),
        takes_several_systems=_takes(template, system, system, user),
        takes_late_system=_takes(template, user, assistant, system, user),
        takes_neighbours=frozenset(
            role
            for role, turns in (("user", (user, user)), ("assistant", (user, assistant, assistant, user)))
            if _takes(template, *turns)
        ),
        takes_assistant_first=_takes(template, assistant, user),
        takes_assistant_last=_takes(template, user, assistant),
        shows_names=frozenset(
            role
            for role, turns in (
                ("user", (replace(user, speaker=0), assistant, replace(user, speaker=1))),
                ("assistant", (user, both[0], user, both[1], user)),
            )
            if _takes(template, *turns)
        ),
        takes_missing_content=takes_calls(call(one, missing=True), result(one)),
        shows_tools=shows_tools,
        takes_calls=bool(taken),
        takes_parallel_calls=takes_calls(call(one, one), result(one), result(one)),
        takes_text_with_calls=takes_calls(call(one, text=True), result(one)),
        takes_ids=frozenset(shape.id_style for shape in taken),
        shows_documents=_takes(template, user, documents=True),
        arguments="any" if len(forms) == 2 else "object" if forms == {False} else "text",
    )


def _takes(template: ChatTemplate, *messages: MessageShape, tools: bool = False, documents: bool = False) -> bool:
    return takes(template, ChatShape(messages, has_tools=tools, has_documents=documents))
