"""Grammars as clients write them (Lark, GBNF, EBNF with `root ::=`), as Lark."""

from __future__ import annotations

import re
from typing import Any

from inglenook.errors import InvalidRequestError

MAX_CHARACTERS = 200_000
MAX_RULES = 2_000

_RULE = re.compile(r"^[ \t]*[?!]?\w[^\n:]*:", re.MULTILINE)
_EBNF_RULE = re.compile(r"^[ \t]*[\w-]+[ \t]*::=", re.MULTILINE)
# They hide tokens that the model has written, or can't be taken back.
_RULE_OPTION = re.compile(r"^[ \t]*[?!]?\w+[ \t]*\[[^\]\n]*\b(max_tokens|temperature|stop)\b[ \t]*=", re.MULTILINE)


def lark_grammar(grammar: Any, *, param: str) -> str:
    """Raises InvalidRequestError with `param`. Whether it is sound is known when it has been compiled."""
    if not isinstance(grammar, str) or not grammar.strip():
        raise InvalidRequestError(f"{param} must be a grammar: a text that isn't empty.", param=param)
    text = grammar
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequestError(
            f"{param} has {len(text)} characters; at most {MAX_CHARACTERS} are allowed.", param=param
        )
    if len(_RULE.findall(text)) > MAX_RULES:
        raise InvalidRequestError(f"{param} has more than {MAX_RULES} rules.", param=param)
    if _EBNF_RULE.search(text):
        text = _from_ebnf(text, param)
    elif (found := _RULE_OPTION.search(text)) is not None:
        raise InvalidRequestError(f"{param}: the rule option '{found[1]}' isn't supported.", param=param)
    return text if "%llguidance" in text else "%llguidance {}\n" + text


def _from_ebnf(text: str, param: str) -> str:
    from llguidance.gbnf_to_lark import gbnf_to_lark

    text = re.sub(r"\n[ \t]*\|", " |", text)  # alternatives on lines of their own
    text = re.sub(r"\\u00([0-9a-fA-F]{2})", r"\\x\1", text)
    try:
        return gbnf_to_lark(text)
    except RecursionError as error:
        raise InvalidRequestError(f"{param} is nested too deeply.", param=param) from error
    except Exception as error:  # the converter raises plain Exceptions
        reason = " ".join(str(error).split())[:200]
        raise InvalidRequestError(f"{param} isn't a grammar that can be read: {reason}.", param=param) from error
