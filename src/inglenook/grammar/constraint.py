"""A request's constraint as the body of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.grammar.body import Body
from inglenook.grammar.content import COMPACT, JsonStyle, json_expression, regex
from inglenook.grammar.grammar_text import lark_grammar
from inglenook.grammar.json_schema import prepare_schema
from inglenook.grammar.structural_tag import structural_tag
from inglenook.lark import Lark, literal
from inglenook.types import Constraint

MAX_CHOICES = 10_000


def constraint_body(
    constraint: Constraint,
    special_tokens: Mapping[str, int],
    style: JsonStyle = COMPACT,
) -> Body:
    """For response_grammar(). Takes milliseconds. Raises InvalidRequestError with the constraint's `param`.

    `special_tokens` are the vocabulary's. `style` is for JSON.
    """
    value, param = constraint.value, constraint.param
    match constraint.kind:
        case "json_schema":
            return Body(Lark(json_expression(prepare_schema(value, param=param), style)))
        case "json_object":
            return Body(Lark(json_expression({"type": "object"}, style)))
        case "regex":
            return Body(regex(value, "content_regex", param))
        case "choice":
            return Body(_choice(value, param))
        case "grammar":
            lark = lark_grammar(value, param=param)
            return Body(Lark("@content"), grammars={"content": lark}, alone=lark)
        case "structural_tag":
            return structural_tag(value, special_tokens, param=param)


def _choice(choices: Any, param: str) -> Lark:
    is_list = isinstance(choices, Sequence) and not isinstance(choices, str)
    if not is_list or not choices or not all(isinstance(choice, str) for choice in choices):
        raise InvalidRequestError(f"{param} must be a list of strings, with one at least.", param=param)
    if len(choices) > MAX_CHOICES:
        raise InvalidRequestError(
            f"{param} has {len(choices)} choices; at most {MAX_CHOICES} are allowed.", param=param
        )
    texts = " | ".join(literal(choice, {}) or '""' for choice in dict.fromkeys(choices))
    return Lark("CONTENT_CHOICE", (f"CONTENT_CHOICE: {texts}",))
