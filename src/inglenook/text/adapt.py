"""A conversation made to fit a chat template, step by step; each step says what it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.text.chat_shape import Chat, several_speakers
from inglenook.text.template_traits import TemplateTraits
from inglenook.text.tool_formats import generic
from inglenook.text.tool_turns import as_text, fit_arguments, match_ids, one_call_a_turn, text_before_calls
from inglenook.types import ToolUse

_SPEAKING = ("user", "assistant")
_PLAIN = {"role", "content", "name"}


@dataclass
class Adaptation:
    """A conversation on its way. `tools` and `documents` are what is left for the template."""

    chat: Chat
    tools: list[dict[str, Any]] | None
    documents: list[dict[str, Any]] | None
    warnings: list[str] = field(default_factory=list)
    has_generic_tools: bool = False

    def apply(self, step: Callable[[Chat], tuple[Chat, list[str]]]) -> None:
        self.chat, warnings = step(self.chat)
        self.warnings += warnings


def adapt(
    chat: Chat,
    traits: TemplateTraits,
    *,
    use: ToolUse,
    documents: Sequence[Mapping[str, Any]],
    takes_role: Callable[[str], bool],
    opens_turn: bool,
) -> Adaptation:
    """`opens_turn`: the assistant is to begin a new turn at the end. Texts are never left out."""
    tools = [dict(tool.definition) for tool in use.tools] or None
    work = Adaptation(chat, tools, [dict(document) for document in documents] or None)
    work.apply(lambda chat: _roles(chat, takes_role))
    _tools(work, traits, use)
    _documents(work, traits)
    work.apply(lambda chat: _names(chat, traits))
    work.apply(lambda chat: _systems(chat, traits))
    if opens_turn and not any(message["role"] in ("user", "tool") for message in work.chat):
        work.apply(lambda chat: _without_user(chat, traits))
    work.apply(lambda chat: _neighbours(chat, traits))
    work.apply(lambda chat: _ends(chat, traits, opens_turn))
    work.chat = [_content(message, traits) for message in work.chat]
    return work


def _roles(chat: Chat, takes_role: Callable[[str], bool]) -> tuple[Chat, list[str]]:
    result: Chat = []
    warnings: list[str] = []
    for message in chat:
        role = message["role"]
        if role in ("system", "user", "assistant", "tool") or takes_role(role):
            result.append(message)
            continue
        if role == "developer":
            result.append({**message, "role": "system"})
            text = "The chat template has no developer; those messages were taken as system messages."
        else:
            content = f"{role}: {message['content']}" if message.get("content") else ""
            result.append({**message, "role": "user", "content": content})
            text = f"The chat template has no role {role[:40]!r}; its messages were taken as the user's."
        if text not in warnings:
            warnings.append(text)
    return result, warnings


def _tools(work: Adaptation, traits: TemplateTraits, use: ToolUse) -> None:
    is_generic = bool(work.tools) and not traits.shows_tools
    if is_generic:
        work.tools = None
        explained = generic.instructions(use.tools, use)
        if explained:
            work.has_generic_tools = True
            work.chat = _in_system(work.chat, explained)
            work.warnings.append("The chat template knows nothing of tools; they were explained in the system text.")
    if is_generic or not traits.takes_calls:
        work.apply(as_text)
        return
    if "missing" not in traits.takes_ids or "other" not in traits.takes_ids:
        work.apply(lambda chat: match_ids(chat, traits.takes_ids))
    work.chat = fit_arguments(work.chat, traits)
    if not traits.takes_parallel_calls:
        work.apply(one_call_a_turn)
    if not traits.takes_text_with_calls:
        work.apply(text_before_calls)


def _documents(work: Adaptation, traits: TemplateTraits) -> None:
    if not work.documents or traits.shows_documents:
        return
    pieces = []
    for number, document in enumerate(work.documents, 1):
        lines = [f"{key}: {value}" for key, value in document.items()]
        pieces.append("\n".join([f"Document {number}", *lines]))
    work.documents = None
    work.chat = _in_system(work.chat, "\n\n".join(pieces))
    work.warnings.append("The chat template has no place for documents; they were put into the system text.")


def _in_system(chat: Chat, text: str) -> Chat:
    """The text behind that of the first system message, or as one of its own."""
    if chat and chat[0]["role"] == "system":
        return [{**chat[0], "content": _join([chat[0].get("content"), text])}, *chat[1:]]
    return [{"role": "system", "content": text}, *chat]


def _names(chat: Chat, traits: TemplateTraits) -> tuple[Chat, list[str]]:
    roles = several_speakers(chat).keys() - traits.shows_names
    result = [_named(message) if message["role"] in roles and message.get("name") else message for message in chat]
    text = "The chat template leaves out names; they were put before the texts of their speakers."
    return (result, [text]) if result != chat else (chat, [])


def _named(message: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in message.items() if key != "name"}
    return {**rest, "content": f"{message['name']}: {message['content']}"} if message.get("content") else rest


def _systems(chat: Chat, traits: TemplateTraits) -> tuple[Chat, list[str]]:
    """System texts that the template doesn't take become a user's words: where they stand, before those that follow."""
    warnings: list[str] = []
    num_first = next((i for i, message in enumerate(chat) if message["role"] != "system"), len(chat))
    if num_first > 1 and traits.takes_system and not traits.takes_several_systems:
        text = _join([message.get("content") for message in chat[:num_first]])
        chat = [{"role": "system", "content": text}, *chat[num_first:]]
        num_first = 1
        warnings.append("The chat template takes one system message; neighbouring ones were joined.")
    result: Chat = []
    waiting: list[str] = []
    is_moved = False
    for index, message in enumerate(chat):
        takes_it = traits.takes_system if index < num_first else traits.takes_late_system
        if message["role"] == "system" and not takes_it:
            is_moved = True
            waiting.append(message.get("content") or "")
            continue
        if waiting and message["role"] == "user":
            message = {**message, "content": _join([*waiting, message.get("content")])}
        elif any(waiting):
            result.append({"role": "user", "content": _join(waiting)})
        waiting = []
        result.append(message)
    if any(waiting):
        result.append({"role": "user", "content": _join(waiting)})
    if is_moved:
        warnings.append("The chat template takes no system message there; its text was put into a user turn.")
    return result, warnings


def _without_user(chat: Chat, traits: TemplateTraits) -> tuple[Chat, list[str]]:
    """A list of nothing but assistants' messages, as some agents send it, for a template that needs a user's turn."""
    if traits.takes_assistant_first and traits.takes_assistant_last:
        return chat, []
    if not any(message["role"] == "assistant" for message in chat):
        return chat, []
    result = [
        {**message, "role": "user"} if message["role"] == "assistant" and message.keys() <= _PLAIN else message
        for message in chat
    ]
    return result, [
        "The chat template needs a user's turn and there was none; the assistant's were taken as the user's."
    ]


def _neighbours(chat: Chat, traits: TemplateTraits) -> tuple[Chat, list[str]]:
    joined: Chat = []
    for message in chat:
        if joined and _can_join(joined[-1], message) and message["role"] not in traits.takes_neighbours:
            text = _join([joined[-1].get("content"), message.get("content")])
            joined[-1] = {**joined[-1], **message, "content": text}
        else:
            joined.append(message)
    text = "The chat template wants alternating roles; neighbouring messages of one role were joined."
    return (joined, [text]) if len(joined) < len(chat) else (chat, [])


def _can_join(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Plain texts of one speaker's role, and a text with the calls behind it."""
    is_same = first["role"] == second["role"] in _SPEAKING
    return is_same and first.keys() <= _PLAIN and (second.keys() <= _PLAIN or first["role"] == "assistant")


def _ends(chat: Chat, traits: TemplateTraits, opens_turn: bool) -> tuple[Chat, list[str]]:
    warnings = []
    first = next((i for i, message in enumerate(chat) if message["role"] != "system"), len(chat))
    if first == len(chat) or (chat[first]["role"] != "user" and not traits.takes_assistant_first):
        chat = [*chat[:first], {"role": "user", "content": ""}, *chat[first:]]
        warnings.append("The chat template wants a user's turn first; an empty one was put there.")
    if opens_turn and chat[-1]["role"] == "assistant" and not traits.takes_assistant_last:
        chat = [*chat, {"role": "user", "content": ""}]
        warnings.append("The chat template answers only a user's turn; an empty one was put at the end.")
    return chat, warnings


def _content(message: Mapping[str, Any], traits: TemplateTraits) -> dict[str, Any]:
    """Content in the form that the template takes; no change of what it says."""
    content = message.get("content")
    if content is None and not (message["role"] == "assistant" and traits.takes_missing_content):
        content = ""
    if traits.wants_parts and isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return {**message, "content": content}


def _join(texts: Sequence[str | None]) -> str:
    return "\n\n".join(text for text in texts if text)
