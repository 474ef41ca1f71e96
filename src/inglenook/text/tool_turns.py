"""Tool calls and their results in a conversation: older forms made new, ids matched, and written as text where a
template has no place for them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from inglenook.text.chat_shape import Chat, IdStyle, calls_of, id_style
from inglenook.text.template_traits import TemplateTraits
from inglenook.text.tool_formats import generic


def modernise(chat: Chat) -> tuple[Chat, list[str]]:
    """OpenAI's older `function_call` and role `function` as tool calls and results."""
    result: Chat = []
    num_calls = 0
    is_changed = False
    for message in chat:
        if isinstance(message.get("function_call"), dict):
            rest = {key: value for key, value in message.items() if key != "function_call"}
            call = {"id": _new_id("short", num_calls, None), "type": "function", "function": message["function_call"]}
            message = {**rest, "tool_calls": [*calls_of(message), call]}
            num_calls += 1
            is_changed = True
        elif message["role"] == "function":
            message = {**message, "role": "tool"}
            is_changed = True
        result.append(message)
    if not is_changed:
        return chat, []
    with_ids, _ = match_ids(result)
    return with_ids, ["function_call and messages of the role function were taken as tool calls and their results."]


def match_ids(chat: Chat, takes: frozenset[IdStyle] = frozenset(("other", "short", "named"))) -> tuple[Chat, list[str]]:
    """Every call and every result with an id of a style that the template takes.

    A result without one answers the first open call of its name, or else the first open call.
    """
    style: IdStyle = "named" if "named" in takes and "short" not in takes else "short"
    result: Chat = []
    renamed: dict[str, str] = {}
    open_calls: list[tuple[str, Any]] = []  # id, name
    numbers = itertools.count()
    was_missing = False

    def fitting(given: Any, name: Any) -> str:
        nonlocal was_missing
        if not isinstance(given, str):
            was_missing = True
            return _new_id(style, next(numbers), name)
        if id_style(given) not in takes and given not in renamed:
            renamed[given] = _new_id(style, next(numbers), name)
        return renamed.get(given, given)

    for message in chat:
        calls = calls_of(message)
        if calls:
            made = []
            open_calls = []
            for call in calls:
                name = call["function"].get("name")
                call_id = fitting(call.get("id"), name)
                made.append({**call, "id": call_id})
                open_calls.append((call_id, name))
            message = {**message, "tool_calls": made}
        elif message["role"] == "tool":
            given, name = message.get("tool_call_id"), message.get("name")
            candidates = (
                [] if isinstance(given, str) else [call for call in open_calls if call[1] == name] or open_calls
            )
            was_missing |= bool(candidates)
            call_id = candidates[0][0] if candidates else fitting(given, name)
            open_calls = [call for call in open_calls if call[0] != call_id]
            message = {**message, "tool_call_id": call_id}
        result.append(message)
    warnings = []
    if was_missing:
        warnings.append("Tool calls and results without an id were matched by name and order.")
    if renamed:
        shown = {"short": "of nine letters or digits", "named": "like functions.NAME:0"}[style]
        warnings.append(f"The chat template takes ids {shown}; those of the tool calls were replaced.")
    return result, warnings


def fit_arguments(chat: Chat, traits: TemplateTraits) -> Chat:
    """Arguments as the template writes them: an object or a text. That is no change: both say the same."""
    if traits.arguments == "any":
        return chat
    return [
        {**message, "tool_calls": [_fit_call(call, traits.arguments == "object") for call in calls]}
        if (calls := calls_of(message))
        else message
        for message in chat
    ]


def _fit_call(call: Mapping[str, Any], wants_object: bool) -> dict[str, Any]:
    arguments = call["function"].get("arguments")
    if wants_object and not isinstance(arguments, dict):
        arguments = as_object(arguments)
    elif not wants_object and not isinstance(arguments, str):
        arguments = json.dumps(arguments or {}, ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": arguments}}


def as_object(arguments: Any) -> dict[str, Any]:
    """Text that isn't the JSON of an object, as of a call that was cut off, stays as the value of one argument."""
    try:
        value = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments or {}
    except (ValueError, RecursionError):
        value = arguments
    return value if isinstance(value, dict) else {"arguments": value}


def one_call_a_turn(chat: Chat) -> tuple[Chat, list[str]]:
    """Parallel calls as calls one after the other, each with its result behind it."""
    result: Chat = []
    is_changed = False
    position = 0
    while position < len(chat):
        message = chat[position]
        position += 1
        calls = calls_of(message)
        if len(calls) < 2:
            result.append(message)
            continue
        is_changed = True
        answers: Chat = []
        while position < len(chat) and chat[position]["role"] == "tool":
            answers.append(chat[position])
            position += 1
        for number, call in enumerate(calls):
            result.append({**message, "tool_calls": [call]} if number == 0 else _only_call(message, call))
            mine = [answer for answer in answers if answer.get("tool_call_id") == call.get("id")]
            if not mine and number < len(answers) and "tool_call_id" not in answers[number]:
                mine = [answers[number]]
            result += mine
            answers = [answer for answer in answers if all(answer is not other for other in mine)]
        result += answers
    text = "The chat template takes one tool call a turn; parallel calls were put one after the other."
    return (result, [text]) if is_changed else (chat, [])


def text_before_calls(chat: Chat) -> tuple[Chat, list[str]]:
    """What an assistant said beside its calls as a turn of its own."""
    result: Chat = []
    for message in chat:
        if calls_of(message) and message.get("content"):
            rest = {key: value for key, value in message.items() if key != "content"}
            result += [{"role": message["role"], "content": message["content"]}, {**rest, "content": ""}]
        else:
            result.append(message)
    is_changed = len(result) > len(chat)
    text = "The chat template leaves out what stands beside a tool call; it was put into a turn of its own."
    return (result, [text]) if is_changed else (chat, [])


def as_text(chat: Chat) -> tuple[Chat, list[str]]:
    """Calls in the assistant's words, results in a user's turn: for templates that know nothing of tools."""
    result: Chat = []
    names: dict[Any, Any] = {}
    is_changed = False
    was_result = False
    for message in chat:
        calls = calls_of(message)
        is_result = message["role"] == "tool"
        if calls:
            names |= {call.get("id"): call["function"].get("name") for call in calls}
            content = _joined(message.get("content"), generic.call_text(calls), "\n")
            rest = {key: value for key, value in message.items() if key not in ("tool_calls", "content")}
            message = {**rest, "content": content}
        elif is_result:
            name = message.get("name") or names.get(message.get("tool_call_id"))
            text = generic.result_text(message.get("content") or "", name)
            if was_result:
                text = _joined(result.pop()["content"], text, "\n")
            message = {"role": "user", "content": text}
        is_changed |= is_result or bool(calls)
        was_result = is_result
        result.append(message)
    text = "The chat template has no place for tool calls and their results; they were written into the texts."
    return (result, [text]) if is_changed else (chat, [])


def _only_call(message: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": message["role"], "content": "", "tool_calls": [call]}


def _joined(first: Any, second: str, separator: str) -> str:
    return separator.join(text for text in (first or "", second) if text)


def _new_id(style: IdStyle, number: int, name: Any) -> str:
    return f"functions.{name}:{number}" if style == "named" else f"call{number:05d}"
