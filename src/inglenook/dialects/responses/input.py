"""The input of a Response: a text or items, checked and written out as they are stored and listed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.dialects.responses.thoughts import opened
from inglenook.errors import InvalidRequestError, UnsupportedParameterError

Item = dict[str, Any]

MAX_ITEMS = 1 << 16
MAX_ID_CHARS = 256
_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_STATUSES = ("in_progress", "completed", "incomplete")


def new_item_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def parse_input(fields: Fields) -> list[Item]:
    """The items of `input`, each with an id; none where it isn't given. Raises InvalidRequestError, naming the field.

    References to stored items stay as they are: {"type": "item_reference", "id": ...}.
    """
    given = fields.get("input")
    if given is None:
        return []
    if isinstance(given, str):
        return [_message_item("user", [given], new_item_id("msg"))]
    if not isinstance(given, list):
        raise expected("input", "a string or a list of items", given)
    if len(given) > MAX_ITEMS:
        raise InvalidRequestError(f"input has {len(given)} items; at most {MAX_ITEMS} are allowed.", param="input")
    return [_item(f"input[{index}]", value) for index, value in enumerate(given)]


def _item(where: str, value: Any) -> Item:
    if not isinstance(value, dict):
        raise expected(where, "an object with a type, or with role and content", value)
    fields = Fields(value, f"{where}.")
    kind = fields.string("type", "message" if "role" in value else "item_reference" if "id" in value else "")
    read = _KINDS.get(kind)
    if read is None:
        raise UnsupportedParameterError(
            f"{where}: items of type {kind[:40]!r} aren't supported; this server takes {', '.join(_KINDS)}.",
            param=where,
        )
    return read(where, fields)


# --- kinds ----------------------------------------------------------------------------------------


def _message(where: str, fields: Fields) -> Item:
    role = fields.choice("role", "", _ROLES)
    if not role:
        raise InvalidRequestError(f"{where}.role is missing.", param=f"{where}.role")
    content = fields.get("content")
    if content is None:
        raise InvalidRequestError(f"{where}.content is missing.", param=f"{where}.content")
    item = _message_item(role, _texts(f"{where}.content", content), _id(fields, "msg"), _status(fields))
    phase = fields.choice("phase", None, ("commentary", "final_answer"))
    return item if phase is None or role != "assistant" else {**item, "phase": phase}


def _message_item(role: str, texts: list[str], item_id: str, status: str = "completed") -> Item:
    parts: list[Item] = [{"type": "input_text", "text": text} for text in texts]
    if role == "assistant":
        parts = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []} for text in texts]
    return {"type": "message", "id": item_id, "status": status, "role": role, "content": parts}


def _function_call(where: str, fields: Fields) -> Item:
    return {
        "type": "function_call",
        "id": _id(fields, "fc"),
        "call_id": _required(fields, "call_id"),
        "name": _required(fields, "name"),
        "arguments": _text(fields, "arguments"),
        "status": _status(fields),
    }


def _custom_tool_call(where: str, fields: Fields) -> Item:
    return {
        "type": "custom_tool_call",
        "id": _id(fields, "ctc"),
        "call_id": _required(fields, "call_id"),
        "name": _required(fields, "name"),
        "input": _text(fields, "input"),
        "status": _status(fields),
    }


def _output(kind: str, prefix: str) -> Callable[[str, Fields], Item]:
    def read(where: str, fields: Fields) -> Item:
        output = fields.get("output")
        if output is None:
            raise InvalidRequestError(f"{where}.output is missing.", param=f"{where}.output")
        if not isinstance(output, str):
            output = [{"type": "input_text", "text": text} for text in _texts(f"{where}.output", output)]
        return {
            "type": kind,
            "id": _id(fields, prefix),
            "call_id": _required(fields, "call_id"),
            "output": output,
            "status": _status(fields),
        }

    return read


def _reasoning(where: str, fields: Fields) -> Item:
    """Thinking of an earlier answer: in `content`, or in what we sent as `encrypted_content`."""
    summary = _texts(f"{where}.summary", fields.get("summary") or [])
    content = _texts(f"{where}.content", fields.get("content") or [])
    sealed = fields.string("encrypted_content", None)
    if not content and sealed:
        content = [opened(sealed, f"{where}.encrypted_content")]
    item: Item = {
        "type": "reasoning",
        "id": _id(fields, "rs"),
        "status": _status(fields),
        "summary": [{"type": "summary_text", "text": text} for text in summary],
        "content": [{"type": "reasoning_text", "text": text} for text in content],
    }
    return item if sealed is None else {**item, "encrypted_content": sealed}


def _reference(where: str, fields: Fields) -> Item:
    return {"type": "item_reference", "id": _required(fields, "id")}


_KINDS: Mapping[str, Callable[[str, Fields], Item]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _output("function_call_output", "fco"),
    "custom_tool_call": _custom_tool_call,
    "custom_tool_call_output": _output("custom_tool_call_output", "ctco"),
    "reasoning": _reasoning,
    "item_reference": _reference,
}

# --- reading --------------------------------------------------------------------------------------


def _texts(where: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise expected(where, "a string or a list of parts", value)
    check_depth(where, value)
    return [_part(f"{where}[{index}]", part) for index, part in enumerate(value)]


def _part(where: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise expected(where, "an object with a type", part)
    fields = Fields(part, f"{where}.")
    kind = fields.string("type", "")
    if kind != "refusal" and kind not in _TEXT_PARTS:
        raise UnsupportedParameterError(
            f"{where}: parts of type {kind[:40]!r} aren't supported; this server takes text parts.", param=where
        )
    return _text(fields, "refusal" if kind == "refusal" else "text")


def _text(fields: Fields, key: str) -> str:
    """A string that has to be there, if only as an empty one."""
    value = fields.string(key, None)
    if value is None:
        raise InvalidRequestError(f"{fields.name(key)} is missing.", param=fields.name(key))
    return value


def _required(fields: Fields, key: str) -> str:
    value = _text(fields, key)
    if not 0 < len(value) <= MAX_ID_CHARS:
        raise InvalidRequestError(
            f"{fields.name(key)} has {len(value)} characters; it must have 1 to {MAX_ID_CHARS}.", param=fields.name(key)
        )
    return value


def _id(fields: Fields, prefix: str) -> str:
    return new_item_id(prefix) if fields.get("id") in (None, "") else _required(fields, "id")


def _status(fields: Fields) -> str:
    return fields.choice("status", "completed", _STATUSES)
