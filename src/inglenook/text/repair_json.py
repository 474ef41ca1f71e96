"""One JSON value out of a text that nearly is one: our own rules where json-repair decides otherwise, then that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice

MAX_DEPTH = 200  # deeper nesting is no answer; and costs the square of it

_MAX_TRIES = 20
_LOOKS = re.compile(r"""\s*(?:\{\s*(?:["'}#]|//|\w[\w ]*:|$)|\[\s*(?:[\[{"']|//|\#|$))""")
_TRIPLE = re.compile(r'"""(.*?)"""|' + r"'''(.*?)'''", re.DOTALL)
_OPEN_LINE = re.compile(r'^(\s*"(?:[^"\\\n]|\\.)*"\s*:\s*"(?:[^"\\\n]|\\.)*?)(,?)[ \t]*$(?=\s*(["}]))', re.MULTILINE)
_EXTRA_CLOSER = re.compile(r"[\]}],[ \t]*$", re.MULTILINE)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def looks_like_json(text: str) -> bool:
    """Whether it begins as an object or a list does. Prose in brackets doesn't."""
    return _LOOKS.match(text) is not None


def repair_json(text: str, *, may_cut: bool) -> str:
    """The value in JSON; the text itself where it can't be told, or where other text follows and not `may_cut`."""
    if may_cut and (whole := _leading_value(text)) is not None:
        return whole
    last = max(text.rfind("}"), text.rfind("]")) + 1
    body, behind = text, text[last:].strip()
    if last and behind and not behind.startswith((",", "#", "//")):
        if not may_cut:
            return text
        body = text[:last]
    if _depth(body) > MAX_DEPTH:
        return text
    body = body.strip()
    for remove in (_without_triple_quotes, _without_comments):
        body = remove(body)
        if is_json(body):
            return body
    changes: tuple[Callable[[str], str], ...] = (_with_right_ends, _with_closed_lines, _without_extra_closer)
    for change in changes:
        if is_json(changed := change(body)):
            return changed
    return _by_library(_with_closed_lines(body)) or text


def _leading_value(text: str) -> str | None:
    """The whole object or list with which it begins."""
    start = len(text) - len(text.lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[start:end]


def _without_triple_quotes(text: str) -> str:
    return _TRIPLE.sub(
        lambda match: json.dumps(match[1] if match[1] is not None else match[2], ensure_ascii=False), text
    )


def _without_comments(text: str) -> str:
    """Without what follows # or // outside quotes, line by line."""
    kept: list[str] = []
    quote, position = "", 0
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                character = text[position : position + 2]
            elif character == quote:
                quote = ""
        elif character == '"' or (character == "'" and "".join(kept[-8:]).rstrip()[-1:] in ("{", "[", ",", ":")):
            quote = character
        elif character == "#" or text.startswith("//", position):
            line_end = text.find("\n", position)
            position = line_end if line_end >= 0 else len(text)
            continue
        kept.append(character)
        position += len(character)
    return "".join(kept)


def _with_right_ends(text: str) -> str:
    """An object whose ends are a list's. A list whose end is missing isn't one."""
    if text.startswith("[{") and not text.endswith("]"):
        text = text[1:]
    elif text.endswith("}]") and not text.startswith("["):
        text = text[:-1]
    if text.startswith("{") and text.endswith("]"):
        text = text[:-1] + "}"
    return text


def _with_closed_lines(text: str) -> str:
    """A string that doesn't end in its line, although the next line begins with a key or ends the object."""
    return _OPEN_LINE.sub(lambda match: f'{match[1]}"{"," if match[3] == chr(34) else ""}', text)


def _without_extra_closer(text: str) -> str:
    """Without the one bracket before a comma at a line's end that is too many."""
    for match in islice(_EXTRA_CLOSER.finditer(text), _MAX_TRIES):
        changed = text[: match.start()] + text[match.start() + 1 :]
        if is_json(changed):
            return changed
    return text


def _by_library(text: str) -> str | None:
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
        if not isinstance(value, dict | list) or not value:
            return None
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=4 if "\n" in text else None)
        written.encode()
    except UnicodeEncodeError:  # half a character, escaped
        return json.dumps(value, allow_nan=False)
    except Exception:  # whatever it stumbles over: the answer is still the model's
        return None
    return written


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest
