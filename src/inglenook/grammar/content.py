"""Expressions for what constraints hold a text to: JSON in a certain layout, a regular expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.grammar.patterns import MAX_WRITTEN_OUT, PatternError, rust_pattern, unanchored, written_out
from inglenook.lark import Lark, json_value


@dataclass(frozen=True)
class JsonStyle:
    """How JSON is laid out. As it stands, one space behind `,` and `:` and nothing else: most tokens are then forced.

    `whitespace_pattern` is a regular expression for what may stand wherever JSON allows white space.
    """

    whitespace_pattern: str | None = None


COMPACT = JsonStyle()


def json_expression(schema: dict[str, Any] | bool, style: JsonStyle = COMPACT) -> str:
    """For a schema that prepare_schema() has made."""
    if style.whitespace_pattern is None or schema is False:
        return json_value(schema)
    layout = {"whitespace_pattern": style.whitespace_pattern, "item_separator": ",", "key_separator": ":"}
    return json_value({**({} if schema is True else schema), "x-guidance": layout})


def regex(pattern: Any, name: str, param: str) -> Lark:
    """All of the text matches the expression. `name` is for the rule."""
    from llguidance import regex_to_lark

    if not isinstance(pattern, str) or not pattern:
        raise InvalidRequestError(f"{param} must be a regular expression, a string that isn't empty.", param=param)
    if max(len(pattern), written_out(pattern)) > MAX_WRITTEN_OUT:
        raise InvalidRequestError(
            f"{param} has more than {MAX_WRITTEN_OUT} characters with its repetitions written out.", param=param
        )
    try:
        rust = regex_to_lark(unanchored(rust_pattern(pattern)), "d")
    except PatternError as error:
        raise InvalidRequestError(f"{param} can't be enforced: it has {error}.", param=param) from error
    return Lark(name.upper(), (f"{name.upper()}: /{rust}/",))
