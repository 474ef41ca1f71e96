"""Messages as clients send them, into prompts: as they are where the model's template takes them, else adapted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.text.adapt import Adaptation, adapt
from inglenook.text.chat_shape import Chat, ChatShape, MessageShape, shape_of, takes
from inglenook.text.chat_template import ChatTemplate, TemplateRefusedError
from inglenook.text.template_traits import STRICTEST, TemplateTraits, traits_of
from inglenook.text.tool_turns import fit_arguments, modernise
from inglenook.types import Message, ToolUse

logger = logging.getLogger(__name__)
_NO_TOOLS = ToolUse()


@dataclass(frozen=True)
class RenderedChat:
    """`warnings` say what was changed so that the template takes the messages. `uses_generic_tools`: the template knows
    nothing of tools; they were explained in the generic format (tool_formats/generic.py)."""

    prompt: str
    warnings: tuple[str, ...] = ()
    uses_generic_tools: bool = False


def render_chat(
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    tool_use: ToolUse = _NO_TOOLS,
    documents: Sequence[Mapping[str, Any]] = (),
    template_kwargs: Mapping[str, Any] | None = None,
    is_strict: bool = False,
) -> RenderedChat:
    """The prompt that transformers gives, if the template takes the messages and leaves nothing out; else that of
    messages changed as little as it needs.

    `template_kwargs` are variables for the template; they go before the arguments of the same names. Raises
    InvalidRequestError where `is_strict` forbids a change, and for options that contradict each other.
    """
    if tool_use.tools:
        template = template.for_tools
    options: dict[str, Any] = {
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": continue_final_message,
        **(template_kwargs or {}),
    }
    given = Adaptation(
        message_dicts(messages),
        [dict(tool.definition) for tool in tool_use.tools] or None,
        list(map(dict, documents)) or None,
    )
    refusal: InvalidRequestError | None = None
    for attempt in _attempts(template, given, tool_use, options):
        if is_strict and attempt.warnings:
            raise _forbidden(attempt.warnings, refusal)
        try:
            prompt = template.render(
                attempt.chat, **{"tools": attempt.tools, "documents": attempt.documents, **options}
            )
        except TemplateRefusedError as error:
            refusal = refusal or error
            continue
        if attempt.warnings:
            logger.debug("Messages adapted: %s", " ".join(attempt.warnings))
        return RenderedChat(prompt, tuple(attempt.warnings), attempt.has_generic_tools)
    assert refusal is not None
    raise refusal


def message_dicts(messages: Sequence[Message]) -> Chat:
    """What templates take, as the client sent it. Content that is null isn't there, as in transformers."""
    chat = []
    for message in messages:
        entry: dict[str, Any] = {"role": message.role}
        if message.content is not None:
            entry["content"] = message.content
        if message.name is not None:
            entry["name"] = message.name
        chat.append({**entry, **message.extra})
    return chat


def _attempts(
    template: ChatTemplate, given: Adaptation, use: ToolUse, options: Mapping[str, Any]
) -> Iterator[Adaptation]:
    """As given; then changed as little as the template needs; then more, up to what every template takes.

    Those that the template is known to refuse, or to leave something out of, come last.
    """
    chat, older = modernise(given.chat)
    given = replace(given, chat=chat, warnings=older)
    if not chat:
        yield given  # it says what is wrong
        return
    takes_given = _fits(template, given, options)
    if takes_given:
        yield given
    doubtful = []
    for step, traits in enumerate(_ladder(template, has_tools=bool(given.tools))):
        if not takes_given:
            fitted = replace(given, chat=fit_arguments(chat, traits))
            takes_given = fitted.chat != chat and _fits(template, fitted, options)
            if takes_given:
                yield fitted
        attempt = adapt(
            chat,
            traits,
            use=use,
            documents=given.documents or (),
            takes_role=partial(_takes_role, template) if step == 0 else lambda role: False,
            opens_turn=bool(options["add_generation_prompt"]),
        )
        attempt.warnings = [*older, *attempt.warnings]
        if _fits(template, attempt, options, names_matter=False):
            yield attempt
        else:
            doubtful.append(attempt)
    yield from (*reversed(doubtful), given)


def _ladder(template: ChatTemplate, *, has_tools: bool) -> Iterator[TemplateTraits]:
    """What was found of the template, then less and less of it."""
    traits = traits_of(template, has_tools=has_tools)
    yield traits
    yield replace(
        traits,
        takes_several_systems=False,
        takes_late_system=False,
        takes_neighbours=frozenset(),
        takes_assistant_first=False,
        takes_assistant_last=False,
        takes_missing_content=False,
    )
    strictest = replace(STRICTEST, wants_parts=traits.wants_parts)
    yield replace(strictest, takes_system=traits.takes_system)
    yield strictest


def _fits(
    template: ChatTemplate, attempt: Adaptation, options: Mapping[str, Any], *, names_matter: bool = True
) -> bool:
    kwargs = dict(options)
    shape = shape_of(
        attempt.chat,
        has_tools=bool(attempt.tools),
        has_documents=bool(attempt.documents),
        opens_turn=bool(kwargs.pop("add_generation_prompt")),
        continues=bool(kwargs.pop("continue_final_message")),
        kwargs=kwargs,
        names_matter=names_matter,
    )
    return takes(template, shape)


def _takes_role(template: ChatTemplate, role: str) -> bool:
    user, other = MessageShape("user", "text"), MessageShape(role, "text")
    order = (other, user) if role == "developer" else (user, other, user)
    return takes(template, ChatShape(order))


def _forbidden(warnings: Sequence[str], refusal: InvalidRequestError | None) -> InvalidRequestError:
    why = f" {refusal.message}" if refusal is not None else ""
    return InvalidRequestError(
        f"The chat template doesn't take these messages as they are, and --strict forbids to change them.{why} "
        f"Without it: {' '.join(warnings)}",
        param="messages",
    )
