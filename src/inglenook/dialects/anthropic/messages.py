"""The system prompt and the messages of an Anthropic request -> messages as chat templates take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Message

CALL_ID_PREFIX = "toolu_"  # Anthropic's; behind it stands the id that the model's format gave the call

# Claude Code's first system block. It differs in every request, so no prefix would ever be found in the cache.
_BILLING = "x-anthropic-billing-header:"


@dataclass(frozen=True)
class Conversation:
    """`is_prefilled`: the last message is the beginning of the answer. `warnings` say what was left out."""

    messages: tuple[Message, ...]
    is_prefilled: bool
    warnings: tuple[str, ...] = ()


def parse_conversation(fields: Fields) -> Conversation:
    """Raises InvalidRequestError, naming the field."""
    given = fields.get("messages")
    if given is None:
        raise InvalidRequestError("messages is missing; it must be a list of messages.", param="messages")
    if not isinstance(given, list):
        raise expected("messages", "a list of messages", given)
    if not given:
        raise InvalidRequestError("messages is empty; at least one message is needed.", param="messages")
    system, warnings = _system(fields)
    messages = system + [
        message for index, value in enumerate(given) for message in _message(f"messages[{index}]", value)
    ]
    if not messages:
        raise InvalidRequestError("All of the messages are empty.", param="messages")
    last = messages[-1]
    is_prefilled = last.role == "assistant" and not last.extra.get("tool_calls")
    return Conversation(tuple(messages), is_prefilled, warnings)


def _system(fields: Fields) -> tuple[list[Message], tuple[str, ...]]:
    value = fields.get("system")
    if value is None:
        return [], ()
    warnings: tuple[str, ...] = ()
    if isinstance(value, list):
        kept = [block for block in value if not _is_billing(block)]
        if len(kept) < len(value):
            warnings = ("The system block x-anthropic-billing-header was left out: it is no part of the prompt.",)
        value = kept
    text = _joined_text("system", value)
    return [Message("system", text)] if text else [], warnings


def _is_billing(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("text"), str) and block["text"].startswith(_BILLING)


# --- messages -------------------------------------------------------------------------------------


def _message(where: str, value: Any) -> list[Message]:
    """One of ours, or several: each result of a tool is a message of its own. None where it says nothing."""
    if not isinstance(value, dict):
        raise expected(where, "an object with role and content", value)
    fields = Fields(value, f"{where}.")
    role = fields.string("role", "")
    content = fields.get("content")
    if content is None:
        raise InvalidRequestError(f"{where}.content is missing.", param=f"{where}.content")
    if role == "assistant":
        return _assistant(f"{where}.content", content)
    if role == "user":
        return _user(f"{where}.content", content)
    if role == "system":
        text = _joined_text(f"{where}.content", content)
        return [Message("system", text)] if text else []
    raise InvalidRequestError(
        f"{where}.role is {role[:40]!r}; it must be user, assistant or system.", param=f"{where}.role"
    )


def _user(where: str, content: Any) -> list[Message]:
    """Results first: they answer the calls of the turn before."""
    texts, results = [], []
    for name, kind, block in _blocks(where, content):
        if kind == "text":
            texts.append(_text(name, block))
        elif kind == "tool_result":
            results.append(_result(name, block))
        else:
            raise _refused(name, kind)
    text = "\n".join(text for text in texts if text)
    return results + ([Message("user", text)] if text else [])


def _assistant(where: str, content: Any) -> list[Message]:
    texts, thoughts, calls = [], [], []
    for name, kind, block in _blocks(where, content):
        if kind == "text":
            texts.append(_text(name, block))
        elif kind == "thinking":
            thoughts.append(block.string("thinking", ""))
            block.string("signature", "")
        elif kind == "tool_use":
            calls.append(_call(name, block))
        elif kind != "redacted_thinking":  # encrypted by someone else: nobody here can read it
            raise _refused(name, kind)
    extra: dict[str, Any] = {}
    if calls:
        extra["tool_calls"] = calls
    thinking = "\n".join(text for text in thoughts if text)
    if thinking:
        extra["reasoning_content"] = thinking  # whether the model sees it again is its template's affair
    text = "\n".join(text for text in texts if text)
    return [Message("assistant", text or None, extra=extra)] if text or calls else []


def _call(where: str, block: Fields) -> dict[str, Any]:
    value = block.get("input")
    if not isinstance(value, dict):
        raise expected(f"{where}.input", "an object", value)
    check_depth(f"{where}.input", value)
    function = {"name": block.required_string("name"), "arguments": value}
    return {"id": _call_id(block.required_string("id")), "type": "function", "function": function}


def _result(where: str, block: Fields) -> Message:
    content = block.get("content")
    text = "" if content is None else "\n".join(_result_text(*one) for one in _blocks(f"{where}.content", content))
    # No template has a place for the flag. Agents mostly say it in the text already.
    if block.boolean("is_error", False) and "error" not in text[:20].lower():
        text = f"Error: {text}"
    return Message("tool", text, extra={"tool_call_id": _call_id(block.required_string("tool_use_id"))})


def _result_text(where: str, kind: str, block: Fields) -> str:
    if kind == "text":
        return _text(where, block)
    if kind == "tool_reference":  # what a search for tools found; all of them are in the prompt anyway
        return block.required_string("tool_name")
    raise _refused(where, kind)


# --- blocks ---------------------------------------------------------------------------------------


def _blocks(where: str, content: Any) -> Iterator[tuple[str, str, Fields]]:
    """The name of each block for messages, its type, and itself. A string stands for one of text."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise expected(where, "a string or a list of blocks", content)
    for index, value in enumerate(content):
        name = f"{where}[{index}]"
        if not isinstance(value, dict):
            raise expected(name, "an object with a type", value)
        block = Fields(value, f"{name}.")
        yield name, block.required_string("type"), block


def _joined_text(where: str, content: Any) -> str:
    """Blocks of text become lines, as the parts of other dialects do."""
    texts = []
    for name, kind, block in _blocks(where, content):
        if kind != "text":
            raise _refused(name, kind)
        texts.append(_text(name, block))
    return "\n".join(text for text in texts if text)


def _text(where: str, block: Fields) -> str:
    text = block.string("text", None)
    if text is None:
        raise InvalidRequestError(f"{where}.text is missing.", param=f"{where}.text")
    return text


def _call_id(given: str) -> str:
    return given.removeprefix(CALL_ID_PREFIX)


def _refused(where: str, kind: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(
        f"{where}: blocks of the type {kind[:40]!r} aren't supported here; this server takes text, tool_use, "
        "tool_result and thinking.",
        param=where,
    )
