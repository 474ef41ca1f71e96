"""Messages as clients send them, into prompts: adapted where the model's template doesn't take them as they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.text.chat_template import ChatTemplate
from inglenook.types import Message

logger = logging.getLogger(__name__)

_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True)
class RenderedChat:
    """`warnings` say what was changed in the messages so that the template takes them."""

    prompt: str
    warnings: tuple[str, ...] = ()


def render_chat(
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> RenderedChat:
    """The messages as given, if the template takes them; else with system texts in user turns and neighbours joined.

    `template_kwargs` are variables for the template; they go before the arguments of the same names. Raises
    InvalidRequestError, with the template's words on the messages as given, where it takes neither.
    """
    options = {
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": continue_final_message,
        "tools": tools,
        "documents": documents,
        **(template_kwargs or {}),
    }

    def render(chat: Sequence[Mapping[str, Any]]) -> str:
        return template.render(chat, **options)

    chat = message_dicts(messages)
    try:
        return RenderedChat(render(chat))
    except InvalidRequestError as refusal:
        for keep_first_system in (True, False):
            adapted, warnings = adapt(chat, keep_first_system=keep_first_system)
            if not warnings or not adapted:
                continue
            try:
                prompt = render(adapted)
            except InvalidRequestError:
                continue
            logger.debug("Messages adapted (%s) because of: %s", " ".join(warnings), refusal.message)
            return RenderedChat(prompt, tuple(warnings))
        raise


def message_dicts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What templates take: content is always a text, since many join it without looking."""
    chat = []
    for message in messages:
        entry: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.name is not None:
            entry["name"] = message.name
        chat.append({**entry, **message.extra})
    return chat


def adapt(
    chat: Sequence[Mapping[str, Any]], *, keep_first_system: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Messages for templates that take only alternating user and assistant turns, and a list of what was changed.

    System messages become user messages, all of them or all but one at the beginning; neighbours of a role are joined.
    """
    warnings: list[str] = []
    without_system: list[dict[str, Any]] = []
    for index, message in enumerate(chat):
        if message["role"] not in _SYSTEM_ROLES or (index == 0 and keep_first_system):
            without_system.append(dict(message))
            continue
        if message["content"]:
            without_system.append({"role": "user", "content": message["content"]})
        if not warnings:
            warnings.append("The chat template takes no system message there; its text was put into a user turn.")
    joined: list[dict[str, Any]] = []
    for message in without_system:
        if joined and _can_join(joined[-1], message):
            texts = [joined[-1]["content"], message["content"]]
            joined[-1] = {**joined[-1], "content": "\n\n".join(text for text in texts if text)}
        else:
            joined.append(message)
    if len(joined) < len(without_system):
        warnings.append("The chat template wants alternating roles; neighbouring messages of one role were joined.")
    return joined, warnings


def _can_join(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Only plain texts of one speaker's role: a turn with tool calls or results stays as it is."""
    plain = {"role", "content", "name"}
    return first["role"] == second["role"] != "tool" and first.keys() <= plain and second.keys() <= plain
