"""Regular expressions as clients write them (ECMA-262, Python), in the words of Rust's regex crate."""

from __future__ import annotations

import re

MAX_WRITTEN_OUT = 20_000  # characters

_LOOK_AROUND = ("(?=", "(?!", "(?<=", "(?<!")
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_POSSESSIVE = re.compile(r"(?:[*+?]|\{\d+(?:,\d*)?\})\+")


class PatternError(Exception):
    """What of an expression can't be enforced."""


def rust_pattern(pattern: str) -> str:
    """Inside of a character class `[`, `&&`, `--` and `~~` mean sets to Rust, and themselves to everyone else.

    Raises PatternError for what no automaton can do.
    """
    result, in_class, index = [], False, 0
    while index < len(pattern):
        char, rest = pattern[index], pattern[index:]
        if char == "\\":
            _check_escape(rest[1:2], in_class)
            result.append(rest[:2])
            index += 2
            continue
        if in_class:
            if char == "]":
                in_class = False
            result.append("\\" + char if char in "[&~" or rest.startswith("--") else char)
        else:
            if rest.startswith(_LOOK_AROUND):
                raise PatternError("look-around")
            if _POSSESSIVE.match(rest):
                raise PatternError("possessive quantifiers")
            result.append(char)
            if char == "[":
                in_class = True
                begin = re.match(r"\^?\]?", rest[1:])
                assert begin is not None
                result.append(begin[0].replace("]", "\\]"))
                index += len(begin[0])
        index += 1
    return "".join(result)


def unanchored(pattern: str) -> str:
    """The expression without `^` and `$` around its alternatives: for where all of a text must match."""
    result, in_class, depth, index = [], False, 0, 0
    while index < len(pattern):
        char = pattern[index]
        if char == "\\":
            result.append(pattern[index : index + 2])
            index += 2
            continue
        is_outside = depth == 0 and not in_class
        if char in "^$" and is_outside:
            is_edge = (
                index == 0 or pattern[index - 1] == "|" if char == "^" else pattern[index + 1 : index + 2] in ("", "|")
            )
            if not is_edge:
                raise PatternError(f"{char!r} in the middle")
            index += 1
            continue
        if in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        else:
            depth += (char == "(") - (char == ")")
        result.append(char)
        index += 1
    return "".join(result)


def written_out(pattern: str) -> int:
    """About how many characters it would have with its counted repetitions written out."""
    totals, lasts, in_class, index = [0], [0], False, 0
    while index < len(pattern):
        char = pattern[index]
        index += 2 if char == "\\" else 1
        repeat = None if in_class else _REPEAT.match(pattern, index - 1)
        if repeat is not None:
            times = max(int(repeat[1]), int(repeat[2] or 0))
            totals[-1] += lasts[-1] * max(0, times - 1)
            lasts[-1] *= times
            index = repeat.end()
        elif in_class:
            in_class = char != "]"
        elif char == "(":
            totals.append(0)
            lasts.append(0)
        elif char == ")" and len(totals) > 1:
            size = totals.pop()
            lasts.pop()
            totals[-1] += size
            lasts[-1] = size
        else:
            in_class = char == "["
            totals[-1] += 1
            lasts[-1] = 1
    return sum(totals)


def _check_escape(char: str, in_class: bool) -> None:
    if char.isdigit() and char != "0":
        raise PatternError("backreferences")
    if char in ("b", "B") and not in_class:
        raise PatternError("word boundaries")
