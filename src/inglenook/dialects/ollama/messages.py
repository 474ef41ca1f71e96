"""The messages of an Ollama request. Its calls have arguments as objects and mostly no ids, its results a tool_name."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.dialects.openai.messages import message_fields
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Message


def parse_messages(fields: Fields) -> tuple[Message, ...]:
    """None for an empty list, which asks for the model to be loaded. Raises InvalidRequestError, naming the field."""
    given = fields.get("messages")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise expected("messages", "a list of messages", given)
    return tuple(_message(f"messages[{index}]", value) for index, value in enumerate(given))


def is_prefilled(messages: tuple[Message, ...]) -> bool:
    """Whether the last message is the beginning of the answer.

    Clients that give every message the role assistant mean no such thing.
    """
    last = messages[-1]
    has_user = any(message.role == "user" for message in messages)
    return has_user and last.role == "assistant" and bool(last.content) and "tool_calls" not in last.extra


def check_images(fields: Fields) -> None:
    """Raises UnsupportedParameterError where there are any."""
    images = fields.get("images")
    if images is None or images == []:
        return
    where = fields.name("images")
    if not isinstance(images, list):
        raise expected(where, "a list of images", images)
    raise UnsupportedParameterError(f"{where}: images aren't supported; this server takes text.", param=where)


def _message(where: str, value: Any) -> Message:
    fields, role = message_fields(where, value)
    check_images(fields)
    extra: dict[str, Any] = {}
    thinking = fields.string("thinking", "")
    if thinking:
        extra["reasoning_content"] = thinking
    call_id = fields.string("tool_call_id", "")
    if call_id:
        extra["tool_call_id"] = call_id
    calls = fields.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise expected(fields.name("tool_calls"), "a list of calls", calls)
    if calls:
        extra["tool_calls"] = [_call(f"{where}.tool_calls[{index}]", call) for index, call in enumerate(calls)]
    name = fields.string("tool_name", None) or fields.string("name", None)
    return Message(role, fields.string("content", None), name, extra)


def _call(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise expected(where, "an object with a function", value)
    check_depth(where, value)
    call = Fields(value, f"{where}.")
    function = call.get("function")
    if not isinstance(function, dict):
        raise expected(f"{where}.function", "an object with name and arguments", function)
    given = Fields(function, f"{where}.function.")
    name = given.string("name", "")
    if not name:
        raise InvalidRequestError(f"{where}.function.name is missing.", param=f"{where}.function.name")
    arguments = given.get("arguments")
    if arguments is not None and not isinstance(arguments, (dict, str)):  # text with clients of other servers
        raise expected(f"{where}.function.arguments", "an object", arguments)
    made = {"type": "function", "function": {"name": name, "arguments": {} if arguments is None else arguments}}
    call_id = call.string("id", "")
    return {"id": call_id, **made} if call_id else made
