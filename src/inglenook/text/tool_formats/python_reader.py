"""Reading calls as Python writes them, and their values as JSON while they come."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from inglenook.text.tool_formats.reader import AnswerReader, Reading

_MAX_DEPTH = 60
_PLAIN = {quote: re.compile(rf"[^\\{quote}]+") for quote in "\"'"}
_WORDS = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "\n": "", "/": "/"}
_ESCAPES |= {"\\": "\\", '"': '"', "'": "'"}
_PART = re.compile(r"<[^<>]*>|[^<]+")
_HEXADECIMAL = {"x": 2, "u": 4, "U": 8}


def read_python_calls(reader: AnswerReader, names: Collection[str], begin: str, end: str) -> Reading[None]:
    """Go past calls between `begin` and `end`, with commas or line ends between them."""
    yield from reader.spaces()
    if not (yield from reader.take(begin)):
        return
    heads = {f"{name}(": name for name in names}
    while True:
        yield from reader.spaces()
        head = yield from reader.take_one(*heads)
        if head is None:
            break
        reader.begin_call(heads[head])
        if not (yield from _read_arguments(reader)):
            return
        yield from reader.spaces()
        if (yield from reader.take(",")):
            reader.drop()
    for part in _PART.findall(end):
        yield from reader.spaces()
        if not (yield from reader.take(part)):
            return
        if reader.num_calls:
            reader.drop()


def _read_arguments(reader: AnswerReader) -> Reading[bool]:
    head = "{"
    while True:
        yield from reader.spaces()
        if (yield from reader.take(")")):
            reader.drop()
            reader.add_arguments("{}" if head == "{" else "}")
            return True
        key = yield from reader.text_before("=", ")", ",", "(", "\n")
        if not key or not (yield from reader.take("=")):
            return False
        reader.drop()
        reader.add_arguments(f"{head}{json.dumps(key.strip(), ensure_ascii=False)}: ")
        head = ", "
        if not (yield from _read_value(reader)):
            return False
        yield from reader.spaces()
        if (yield from reader.take(",")):
            reader.drop()
        elif (yield from reader.peek()) != ")":
            return False


def _read_value(reader: AnswerReader, depth: int = 0) -> Reading[bool]:
    """Add a value to the arguments. A list or a tuple is a list."""
    yield from reader.spaces()
    first = yield from reader.peek()
    if first in ("'", '"'):
        return (yield from _read_string(reader))
    if first not in ("{", "[", "(") or not first:
        return (yield from _read_word(reader))
    if depth == _MAX_DEPTH:
        return False
    closer, written = {"{": ("}", "{}"), "[": ("]", "[]"), "(": (")", "[]")}[first]
    reader.skip(1)
    reader.drop()
    reader.add_arguments(written[0])
    separator = ""
    while True:
        yield from reader.spaces()
        if (yield from reader.take(closer)):
            reader.drop()
            reader.add_arguments(written[1])
            return True
        if not (yield from reader.peek()):
            return False
        reader.add_arguments(separator)
        separator = ", "
        if closer == "}":
            if (yield from reader.peek()) not in ("'", '"') or not (yield from _read_string(reader)):
                return False
            yield from reader.spaces()
            if not (yield from reader.take(":")):
                return False
            reader.drop()
            reader.add_arguments(": ")
        if not (yield from _read_value(reader, depth + 1)):
            return False
        yield from reader.spaces()
        if (yield from reader.take(",")):
            reader.drop()
        elif (yield from reader.peek()) != closer:
            return False


def _read_word(reader: AnswerReader) -> Reading[bool]:
    start = reader.position
    while (following := (yield from reader.peek())).isalnum() or (following and following in "+-._"):
        reader.skip(1)
    text = reader.read_from(start)
    word = text.replace("_", "")
    written = _WORDS.get(word) or (word if _NUMBER.fullmatch(word) else None)
    if written is None:
        return False
    reader.drop()
    reader.add_arguments(written)
    return bool(following)


def _read_string(reader: AnswerReader) -> Reading[bool]:
    quote = yield from reader.peek()
    reader.skip(1)
    reader.drop()
    reader.add_arguments('"')
    while True:
        text = reader.match(_PLAIN[quote])
        if text:
            reader.drop()
            reader.add_arguments(json.dumps(text, ensure_ascii=False)[1:-1])
        if (yield from reader.take(quote)):
            reader.drop()
            reader.add_arguments('"')
            return True
        if (yield from reader.peek()) == "\\":
            written = yield from _read_escape(reader)
            if written is None:
                return False
            reader.drop()
            reader.add_arguments(written)
        elif not (yield from reader.peek()):
            return False


def _read_escape(reader: AnswerReader) -> Reading[str | None]:
    """What JSON writes for it. An escape that Python doesn't know is its two characters."""
    escape = yield from reader.peek(2)
    if len(escape) < 2:
        return None
    if (num_digits := _HEXADECIMAL.get(escape[1])) is None:
        reader.skip(2)
        return json.dumps(_ESCAPES.get(escape[1], escape), ensure_ascii=False)[1:-1]
    whole = yield from reader.peek(2 + num_digits)
    try:
        code = int(whole[2:], 16)
    except ValueError:
        return None
    if len(whole) < 2 + num_digits or code > 0x10FFFF:
        return None
    reader.skip(len(whole))
    return whole if escape[1] == "u" else json.dumps(chr(code))[1:-1]
