"""Reading JSON while it comes: values as they are written, and the objects {name, arguments} of calls."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from inglenook.text.tool_formats.reader import AnswerReader, Reading

NAME_KEYS = frozenset(("name", "tool_name"))
ARGUMENTS_KEYS = frozenset(("arguments", "parameters"))
_OTHER_KEYS = frozenset(("id", "type", "tool_call_id"))

_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_SCALAR = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null")
_SCALAR_CHARACTERS = frozenset("0123456789+-.eEtrufalsn")
_SHORT_ESCAPES = frozenset('"\\/bfnrt')
_HEXADECIMAL = re.compile("[0-9a-fA-F]{4}")


def read_value(reader: AnswerReader) -> Reading[bool]:
    """Go past one JSON value, or up to the character that breaks JSON's rules: whether it was whole."""
    closers: list[str] = []  # of the objects and lists that are open
    while True:
        yield from reader.spaces()
        first = yield from reader.peek()
        if first in ("{", "["):
            reader.skip(1)
            yield from reader.spaces()
            closer = "}" if first == "{" else "]"
            if not (yield from reader.take(closer)):
                closers.append(closer)
                if closer == "}" and not (yield from _read_key(reader)):
                    return False
                continue
        elif not (yield from (_read_string(reader) if first == '"' else _read_scalar(reader))):
            return False
        while True:
            if not closers:
                return True
            yield from reader.spaces()
            if (yield from reader.take(closers[-1])):
                closers.pop()
                continue
            if not (yield from reader.take(",")):
                return False
            if closers[-1] == "}":
                yield from reader.spaces()
                if not (yield from _read_key(reader)):
                    return False
            break


def read_string(reader: AnswerReader) -> Reading[str | None]:
    """Go past a JSON string: what it says. None where there is none."""
    start = reader.position
    if not (yield from _read_string(reader)):
        return None
    text: str = json.loads(reader.read_from(start))
    return text


def read_call(reader: AnswerReader, names: Collection[str]) -> Reading[bool]:
    """Go past an object {name, arguments} and make a call of it: whether the object was whole.

    The call begins with its arguments, or where the object ends without any: up to there the object can still turn
    out to be none. Arguments that come before the name are held until it comes.
    """
    name: str | None = None
    early: str | None = None  # arguments that came before the name
    num_calls = reader.num_calls
    if not (yield from reader.take("{")):
        return False
    while True:
        yield from reader.spaces()
        key = yield from read_string(reader)
        yield from reader.spaces()
        if key is None or not (yield from reader.take(":")):
            return False
        yield from reader.spaces()
        has_begun = reader.num_calls > num_calls
        if key in NAME_KEYS and name is None:
            name = yield from read_string(reader)
            if name is None or name not in names:
                return False
            if early is not None:
                reader.begin_call(name)
                reader.add_arguments(early)
        elif key in ARGUMENTS_KEYS and early is None and not has_begun:
            if name is not None:
                if not (yield from read_arguments(reader, name)):
                    return False
            else:
                start = reader.position
                is_whole = yield from read_value(reader)
                early = _arguments_text(reader.read_from(start)) if is_whole else None
                if early is None:
                    return False
        elif not (has_begun or key in _OTHER_KEYS) or not (yield from read_value(reader)):
            return False
        yield from reader.spaces()
        if (yield from reader.take("}")):
            break
        if not (yield from reader.take(",")):
            return False
    if name is None:
        return False
    if reader.num_calls == num_calls:
        reader.begin_call(name)
        reader.add_arguments("{}")
    reader.drop()
    return True


def read_arguments(reader: AnswerReader, name: str, call_id: str | None = None) -> Reading[bool]:
    """Begin a call with the JSON value that comes: an object, a string of JSON, or null for none. Was it whole?"""
    first = yield from reader.peek()
    if first == "{":
        reader.begin_call(name, call_id)
        return (yield from reader.pass_arguments(read_value(reader)))
    if first == '"':
        reader.begin_call(name, call_id)
        return (yield from _read_quoted_arguments(reader))
    if not (yield from reader.take("null")):
        return False
    reader.begin_call(name, call_id)
    reader.add_arguments("{}")
    return True


def _arguments_text(value: str) -> str | None:
    """The arguments' JSON of a value that came before the name."""
    if value == "null":
        return "{}"
    if value.startswith('"'):
        text: str = json.loads(value)
        return text or "{}"
    return value if value.startswith("{") else None


def _read_quoted_arguments(reader: AnswerReader) -> Reading[bool]:
    """Pass on what the string says, as it comes."""
    reader.skip(1)
    is_empty = True
    while True:
        following = yield from reader.peek()
        if following == '"':
            reader.skip(1)
            if is_empty:
                reader.add_arguments("{}")
            return True
        is_empty = False
        start = reader.position
        if not reader.match(_PLAIN) and not (yield from _read_escapes(reader)):
            return False
        written = reader.read_from(start)
        says: str = json.loads(f'"{written}"')
        is_text = not any("\ud800" <= character <= "\udfff" for character in says)  # else half a character
        reader.add_arguments(says if is_text else written)
        reader.drop()


def _read_escapes(reader: AnswerReader) -> Reading[bool]:
    """Go past an escape; past two that make up one character."""
    if not (yield from _read_escape(reader)):
        return False
    value = reader.read_from(max(reader.position - 6, 0)).lower()
    while value[:4] in (r"\ud8", r"\ud9", r"\uda", r"\udb") and (yield from reader.peek(2)) == r"\u":
        if not (yield from _read_escape(reader)):
            return False
        value = reader.read_from(reader.position - 6).lower()
    return True


def _read_key(reader: AnswerReader) -> Reading[bool]:
    if not (yield from _read_string(reader)):
        return False
    yield from reader.spaces()
    return (yield from reader.take(":"))


def _read_string(reader: AnswerReader) -> Reading[bool]:
    if not (yield from reader.take('"')):
        return False
    while True:
        reader.match(_PLAIN)
        following = yield from reader.peek()
        if following == '"':
            reader.skip(1)
            return True
        if following == "\\":
            if not (yield from _read_escape(reader)):
                return False
        elif not _PLAIN.match(following):
            return False


def _read_escape(reader: AnswerReader) -> Reading[bool]:
    escape = yield from reader.peek(2)
    if not escape.startswith("\\"):
        return False
    if escape[1:] == "u":
        escape = yield from reader.peek(6)
        if not _HEXADECIMAL.fullmatch(escape, 2):
            return False
    elif escape[1:] not in _SHORT_ESCAPES:
        return False
    reader.skip(len(escape))
    return True


def _read_scalar(reader: AnswerReader) -> Reading[bool]:
    """A number or a word: it ends where another character comes."""
    text = ""
    while (following := (yield from reader.peek())) in _SCALAR_CHARACTERS and following:
        text += following
        reader.skip(1)
    return _SCALAR.fullmatch(text) is not None
