"""The shape of a conversation: everything about it but its words.

Whether a template takes a shape is found out once, by rendering it with marker words and looking for them in the
prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from inglenook.errors import InvalidRequestError
from inglenook.text.chat_template import ChatTemplate

Chat = list[dict[str, Any]]

PROBE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "zqtool",
        "description": "zqdescription",
        "parameters": {
            "type": "object",
            "properties": {"zqparameter": {"type": "string", "description": "zqmeaning"}},
            "required": ["zqparameter"],
        },
    },
}
PROBE_DOCUMENT = {"title": "zqtitle", "text": "zqdocument", "content": "zqdocument", "doc_id": 0}

_NAMED_ID = re.compile(r"functions\.[\w.-]+:\d+")
_MAX_REPEATS = 4  # of a group of turns, before a shape is shortened
_MAX_GROUP = 6
_MAX_KEPT = 1000  # messages and characters of a shape whose answer is remembered


# Of calls. short: nine letters or digits, as Mistral wants it; named: functions.NAME:NUMBER, from which Kimi's
# templates take the name.
IdStyle = Literal["missing", "short", "named", "other"]


@dataclass(frozen=True)
class CallShape:
    id_style: IdStyle
    is_text: bool  # the arguments are text, not an object


@dataclass(frozen=True)
class MessageShape:
    role: str
    content: Literal["missing", "empty", "text", "parts"]
    speaker: int | None = None  # which of several speakers of this role; None where the name says nothing
    calls: tuple[CallShape, ...] = ()
    answers: IdStyle | None = None  # of the id that a tool's result has


@dataclass(frozen=True)
class ChatShape:
    messages: tuple[MessageShape, ...]
    has_tools: bool = False
    has_documents: bool = False
    opens_turn: bool = True
    continues: bool = False
    kwargs: str = "{}"  # JSON of the template's further variables


def shape_of(
    chat: Sequence[Mapping[str, Any]],
    *,
    has_tools: bool,
    has_documents: bool,
    opens_turn: bool,
    continues: bool,
    kwargs: Mapping[str, Any],
    names_matter: bool = True,
) -> ChatShape:
    """Long conversations are shortened where a group of turns comes again and again.

    `names_matter`: where a role has several speakers, the template must say who speaks.
    """
    speakers = several_speakers(chat) if names_matter else {}
    shapes = []
    for message in chat:
        names = speakers.get(message["role"], [])
        name = message.get("name")
        shapes.append(_message_shape(message, names.index(name) if name in names else None))
    return ChatShape(
        _shorten(shapes),
        has_tools,
        has_documents,
        opens_turn,
        continues,
        json.dumps(dict(kwargs), sort_keys=True, default=str),
    )


def several_speakers(chat: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The names of each role's speakers, where it has several; one may have no name. Who says nothing doesn't count."""
    found: dict[str, dict[str | None, None]] = {"user": {}, "assistant": {}}
    for message in chat:
        if message.get("content") and message["role"] in found:
            found[message["role"]][message.get("name")] = None
    return {role: [name for name in names if name is not None] for role, names in found.items() if len(names) > 1}


def _message_shape(message: Mapping[str, Any], speaker: int | None) -> MessageShape:
    content = message.get("content")
    kind: Literal["missing", "empty", "text", "parts"]
    if content is None:
        kind = "missing"
    elif isinstance(content, list):
        kind = "parts"
    else:
        kind = "text" if content.strip() else "empty"
    calls = tuple(
        CallShape(id_style(call.get("id")), isinstance(call["function"].get("arguments"), str))
        for call in calls_of(message)
    )
    answers = id_style(message.get("tool_call_id")) if message["role"] == "tool" else None
    return MessageShape(message["role"], kind, speaker, calls, answers)


def id_style(call_id: Any) -> IdStyle:
    if not isinstance(call_id, str):
        return "missing"
    if len(call_id) == 9 and call_id.isascii() and call_id.isalnum():
        return "short"
    return "named" if _NAMED_ID.fullmatch(call_id) else "other"


def calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of an assistant's message that are calls of functions."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return []
    return [call for call in calls if isinstance(call, dict) and isinstance(call.get("function"), dict)]


def _shorten(shapes: list[MessageShape]) -> tuple[MessageShape, ...]:
    """Leave out repetitions by pairs, so that what stands at even places goes on standing there."""
    for size in range(1, _MAX_GROUP + 1):
        start = 0
        while start + size * (_MAX_REPEATS + 2) <= len(shapes):
            group = shapes[start : start + size]
            end = start + size
            while shapes[end : end + size] == group:
                end += size
            repeats = (end - start) // size
            if repeats > _MAX_REPEATS + 1:
                kept = _MAX_REPEATS + (repeats - _MAX_REPEATS) % 2
                del shapes[start + kept * size : end]
            start += 1
    return tuple(shapes)


def takes(template: ChatTemplate, shape: ChatShape) -> bool:
    """Whether the template renders such a conversation with all that is in it."""
    is_kept = len(shape.messages) + len(shape.kwargs) <= _MAX_KEPT
    return _known_takes(template, shape) if is_kept else _takes(template, shape)


def _takes(template: ChatTemplate, shape: ChatShape) -> bool:
    chat, markers = _probe(shape)
    prompt = render_probe(template, chat, shape)
    if prompt is None or not all(marker in prompt for marker in markers):
        return False
    # An object written as Python writes it, or text as a JSON string, isn't what the model was trained on.
    if any("{'zqkey" in prompt or '\\"zqkey' in prompt for message in shape.messages if message.calls):
        return False
    if shape.opens_turn and shape.messages[-1].role == "assistant":
        return prompt != render_probe(template, chat, shape, opens_turn=False)
    return True


_known_takes = lru_cache(maxsize=1024)(_takes)


def render_probe(template: ChatTemplate, chat: Chat, shape: ChatShape, *, opens_turn: bool | None = None) -> str | None:
    """None where the template refuses."""
    options = {
        "add_generation_prompt": shape.opens_turn if opens_turn is None else opens_turn,
        "continue_final_message": shape.continues,
        "tools": [PROBE_TOOL] if shape.has_tools else None,
        "documents": [PROBE_DOCUMENT] if shape.has_documents else None,
        **json.loads(shape.kwargs),
    }
    try:
        return template.render(chat, **options)
    except InvalidRequestError:
        return None


def _probe(shape: ChatShape) -> tuple[Chat, list[str]]:
    """A conversation of this shape, and the words that have to be in its prompt."""
    chat: Chat = []
    markers = (["zqtool"] if shape.has_tools else []) + (["zqdocument"] if shape.has_documents else [])
    open_ids: list[str] = []
    num_ids = 0
    for index, message in enumerate(shape.messages):
        word = f"zqtext{index}x"
        entry: dict[str, Any] = {"role": message.role}
        if message.content in ("text", "parts"):
            markers.append(word)
            entry["content"] = word if message.content == "text" else [{"type": "text", "text": word}]
        elif message.content == "empty":
            entry["content"] = ""
        if message.speaker is not None:
            entry["name"] = f"zqname{message.speaker}x"
            markers.append(entry["name"])
        calls = []
        for number, call in enumerate(message.calls):
            key, value, name = f"zqkey{index}x{number}x", f"zqvalue{index}x{number}x", f"zqcall{index}x{number}x"
            markers += [key, value, name]
            arguments = {key: value}
            function = {"name": name, "arguments": json.dumps(arguments) if call.is_text else arguments}
            made: dict[str, Any] = {"type": "function", "function": function}
            if call.id_style != "missing":
                made["id"] = _id(call.id_style, num_ids, name)
                open_ids.append(made["id"])
                num_ids += 1
            calls.append(made)
        if calls:
            entry["tool_calls"] = calls
        if message.answers is not None:
            entry["name"] = "zqtool"
            if message.answers != "missing":
                entry["tool_call_id"] = open_ids.pop(0) if open_ids else _id(message.answers, 99999, "zqloose")
        chat.append(entry)
    return chat, markers


def _id(style: IdStyle, number: int, name: str) -> str:
    return {"short": f"zqid{number:05d}", "named": f"functions.{name}:{number}"}.get(style, f"call_zq{number:05d}long")
