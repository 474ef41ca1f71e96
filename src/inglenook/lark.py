"""Writing grammars in llguidance's dialect of Lark (docs/syntax.md of that project): the pieces, as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Lark:
    """A piece of a grammar: an expression, and the rules that it names. Names are unique in a whole grammar.

    Several pieces may bring the same rule, word for word: it counts once.
    """

    expression: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallBlock:
    """One way in which a model begins to call tools: a trigger, and what must follow it up to the end of the call.

    A block may hold several calls, where the format lists them.
    """

    trigger: str  # literal text; names of special tokens stand for the tokens
    body: Lark
    is_first: bool = False  # counts only where the answer begins with it


def literal(text: str, special_tokens: Mapping[str, int]) -> str:
    """An expression for exactly this text. Names of special tokens in it stand for the tokens: name -> id.

    "<tool_call>\\n" -> `<[151657]> "\\n"`. An empty text gives an empty expression.
    """
    if not special_tokens:
        return _quoted(text)
    names = sorted(special_tokens, key=len, reverse=True)
    pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", text)
    return " ".join(f"<[{special_tokens[p]}]>" if p in special_tokens else _quoted(p) for p in pieces if p)


def json_value(schema: Mapping[str, Any] | bool) -> str:
    """An expression for a JSON value that the schema allows, with one space behind `,` and `:` and nowhere else."""
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    # No \u escapes: a key that is spelled with one would pass for another key.
    style = {
        "whitespace_flexible": False,
        "item_separator": ", ",
        "key_separator": ": ",
        "json_allowed_escapes": 'nrbtf\\"',
    }
    return "%json " + json.dumps({**schema, "x-guidance": {**style, **schema.get("x-guidance", {})}})


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f") if text else ""
