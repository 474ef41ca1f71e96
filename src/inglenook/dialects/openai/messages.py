"""The messages of an OpenAI request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Message


def parse_messages(fields: Fields, key: str = "messages") -> tuple[Message, ...]:
    """Raises InvalidRequestError, naming the field."""
    given = fields.get(key)
    if given is None:
        raise InvalidRequestError(f"{key} is missing; it must be a list of messages.", param=key)
    if not isinstance(given, list):
        raise expected(key, "a list of messages", given)
    if not given:
        raise InvalidRequestError(f"{key} is empty; at least one message is needed.", param=key)
    return tuple(_message(f"{key}[{index}]", value) for index, value in enumerate(given))


def parse_documents(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """What templates for retrieval get to quote from."""
    given = fields.get("documents")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise expected("documents", "a list of objects", given)
    for index, document in enumerate(given):
        if not isinstance(document, dict):
            raise expected(f"documents[{index}]", "an object", document)
    check_depth("documents", given)
    return tuple(given)


def message_fields(where: str, value: Any) -> tuple[Fields, str]:
    """The fields of a message, and its role."""
    if not isinstance(value, dict):
        raise expected(where, "an object with role and content", value)
    fields = Fields(value, f"{where}.")
    return fields, fields.required_string("role")


def _message(where: str, value: Any) -> Message:
    fields, role = message_fields(where, value)
    content = _content(f"{where}.content", fields.get("content"))
    name = fields.string("name", None)
    _check_calls(fields)
    extra = {key: item for key, item in value.items() if key not in ("role", "content", "name") and item is not None}
    check_depth(where, extra)
    return Message(role=role, content=content, name=name, extra=extra)


def _check_calls(fields: Fields) -> None:
    """Past calls and results go to the template as they are, so here is the place to see that they are such."""
    fields.string("tool_call_id", None)
    calls = fields.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise expected(fields.name("tool_calls"), "a list of calls", calls)
    for index, call in enumerate(calls or []):
        where = f"{fields.name('tool_calls')}[{index}]"
        if not isinstance(call, dict):
            raise expected(where, "an object with a function", call)
        _check_function(where, Fields(call, f"{where}."))
    legacy = fields.get("function_call")
    if legacy is not None:
        where = fields.name("function_call")
        if not isinstance(legacy, dict):
            raise expected(where, "an object with name and arguments", legacy)
        _check_named(Fields(legacy, f"{where}."))


def _check_function(where: str, call: Fields) -> None:
    call.string("id", None)
    function = call.get("function")
    if function is None:
        raise InvalidRequestError(f"{where}.function is missing.", param=f"{where}.function")
    if not isinstance(function, dict):
        raise expected(f"{where}.function", "an object with name and arguments", function)
    _check_named(Fields(function, f"{where}.function."))


def _check_named(function: Fields) -> None:
    if not function.string("name", ""):
        raise InvalidRequestError(f"{function.name('name')} is missing.", param=function.name("name"))
    arguments = function.get("arguments")  # an object with Ollama's clients, a string with all others
    if arguments is not None and not isinstance(arguments, (str, dict)):
        raise expected(function.name("arguments"), "a string that holds JSON", arguments)


def _content(where: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise expected(where, "a string or a list of parts", value)
    # Templates of text models take one string; parts become its lines, as in vLLM.
    return "\n".join(_part(f"{where}[{index}]", part) for index, part in enumerate(value))


def _part(where: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise expected(where, "an object with a type", part)
    fields = Fields(part, f"{where}.")
    kind = fields.string("type", "")
    if kind not in ("text", "refusal"):
        raise UnsupportedParameterError(
            f"{where}: parts of type {kind[:40]!r} aren't supported; this server takes text parts.", param=where
        )
    text = fields.string(kind, None)
    if text is None:
        raise InvalidRequestError(f"{where}.{kind} is missing.", param=f"{where}.{kind}")
    return text
