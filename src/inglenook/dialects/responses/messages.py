"""The items of a conversation -> messages as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from inglenook.dialects.responses.input import Item
from inglenook.errors import InvalidRequestError
from inglenook.types import Message

INPUT_KEY = "input"  # of the function that a custom tool is for the model: see responses_tools.py


def to_messages(instructions: str | None, items: Sequence[Item]) -> tuple[Message, ...]:
    """A turn of the model's, with its thinking, text and calls, is one message.

    Raises InvalidRequestError for the output of a call that nobody made.
    """
    messages = [] if instructions is None else [Message("system", instructions)]
    turn = _Turn()
    known_calls: set[str] = set()
    for item in items:
        kind = item["type"]
        if kind in ("function_call", "custom_tool_call"):
            known_calls.add(item["call_id"])
        if kind in ("function_call", "custom_tool_call", "reasoning") or item.get("role") == "assistant":
            messages += turn.add(item)
            continue
        messages += turn.take()
        if kind == "message":
            messages.append(Message(item["role"], _joined(item["content"])))
            continue
        if item["call_id"] not in known_calls:
            raise InvalidRequestError(
                f"input has the output of a call {item['call_id'][:80]!r}, which isn't in the conversation.",
                param="input",
            )
        output = item["output"]
        text = output if isinstance(output, str) else _joined(output)
        messages.append(Message("tool", text, extra={"tool_call_id": item["call_id"]}))
    return (*messages, *turn.take())


class _Turn:
    """A turn of the model's, from its items in order."""

    def __init__(self) -> None:
        self._thinking: list[str] = []
        self._text: str | None = None
        self._calls: list[dict[str, Any]] = []

    def add(self, item: Item) -> list[Message]:
        """The turn that ended before this item, if one did."""
        kind = item["type"]
        ended = []
        if kind == "reasoning":
            ended = self.take() if self._text is not None or self._calls else []
            thoughts = item.get("content") or item["summary"]
            self._thinking += [thought["text"] for thought in thoughts]
        elif kind == "message":
            ended = self.take() if self._text is not None or self._calls else []
            self._text = _joined(item["content"])
        else:
            self._calls.append(_call(item))
        return ended

    def take(self) -> list[Message]:
        if self._text is None and not self._calls and not self._thinking:
            return []
        extra: dict[str, Any] = {}
        if self._thinking:
            extra["reasoning_content"] = "\n".join(self._thinking)
        if self._calls:
            extra["tool_calls"] = self._calls
        content = self._text if self._text is not None or self._calls else ""
        self._thinking, self._text, self._calls = [], None, []
        return [Message("assistant", content, extra=extra)]


def _call(item: Item) -> dict[str, Any]:
    arguments = item["arguments"] if item["type"] == "function_call" else json.dumps({INPUT_KEY: item["input"]})
    return {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": arguments}}


def _joined(parts: Sequence[Item]) -> str:
    # As in chats: templates of text models take one string; parts become its lines.
    return "\n".join(part["text"] for part in parts)
