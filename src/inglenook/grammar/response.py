"""The grammar of a whole answer: thinking, then free text with calls in it, or what a constraint says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from inglenook.grammar.body import Body
from inglenook.grammar.free_text import at_start, free_text, text_up_to, text_without
from inglenook.lark import CallBlock, literal

# Models write line ends between calls, behind their thinking, and beside the marks of an answer.
_BETWEEN_CALLS = r"/[ \n]{0,2}/"
LINE_ENDS = r"/\n{0,2}/"


@dataclass(frozen=True)
class Reasoning:
    """How this answer's thinking is marked, as ReasoningFormat has it. Where the model doesn't think, there is none."""

    begin: str
    end: str
    is_open: bool  # the prompt has begun the thinking
    is_optional: bool = True  # the answer may come without; counts only where the thinking isn't open
    takes_line_ends: bool = True  # behind its end


def response_grammar(
    *,
    reasoning: Reasoning | None = None,
    body: Body | None = None,
    blocks: Sequence[CallBlock] = (),
    mode: Literal["auto", "required"] = "auto",
    is_parallel: bool = True,
    special_tokens: Mapping[str, int],
) -> str:
    """For GrammarCompiler.compile().

    "auto": free text with any number of calls in it, or a single one with nothing behind it; where there is a `body`,
    either calls alone or what the body says. "required": calls alone. Without blocks the mode doesn't count. Free text
    never holds a special token. `special_tokens` are the vocabulary's.
    """
    assert mode == "auto" or blocks
    if reasoning is None and not blocks and body is not None and body.alone is not None:
        return body.alone
    is_free = body is None and mode == "auto"
    rules: list[str] = []
    choices: list[str] = []
    if is_free:
        is_maybe_thinking = reasoning is not None and not reasoning.is_open and reasoning.is_optional
        not_first = (reasoning.begin,) if reasoning is not None and is_maybe_thinking else ()
        text = free_text("free", blocks, special_tokens, is_repeated=is_parallel, not_first=not_first)
        rules += text.rules
        choices.append(text.expression)
    elif blocks:
        choices.append(_calls(blocks, is_parallel, special_tokens, rules))
    if body is not None and mode == "auto":
        rules += body.lark.rules
        choices.append(body.lark.expression)
    rules.append(f"answer: {' | '.join(choices)}")
    start = "answer" if reasoning is None else _thinking(reasoning, special_tokens, rules, is_free=is_free)
    lark = "\n".join(["%llguidance {}", f"start: {start}", *dict.fromkeys(rules), ""])
    if body is None or not body.grammars:
        return lark
    named = [{"name": name, "lark_grammar": text} for name, text in body.grammars.items()]
    return json.dumps({"grammars": [{"name": "response", "lark_grammar": lark}, *named]})


def _calls(blocks: Sequence[CallBlock], is_parallel: bool, special_tokens: Mapping[str, int], rules: list[str]) -> str:
    """Calls with nothing around them."""
    rules += [rule for block in blocks for rule in block.body.rules]
    first = [f"{literal(block.trigger, special_tokens)} {block.body.expression}" for block in blocks]
    inner = [call for call, block in zip(first, blocks, strict=True) if not block.is_first]
    later = f" ({_BETWEEN_CALLS} ({' | '.join(inner)}))*" if is_parallel and inner else ""
    rules.append(f"calls: ({' | '.join(first)}){later}")
    return "calls"


def _thinking(reasoning: Reasoning, special_tokens: Mapping[str, int], rules: list[str], *, is_free: bool) -> str:
    """The whole answer. Free text may also end before the thinking does, as a model is free to."""
    to_end = text_up_to("thinking", reasoning.end, special_tokens)
    rules += to_end.rules
    rest = f"{LINE_ENDS} answer" if reasoning.takes_line_ends and not is_free else "answer"
    thought = f"{to_end.expression} {rest}"
    if is_free:
        unfinished = text_without("thinking", reasoning.end, special_tokens)
        rules += unfinished.rules
        thought = f"({thought} | {unfinished.expression})"
    if reasoning.is_open:
        return thought
    begin = at_start("thinking", reasoning.begin, special_tokens)
    rules += begin.rules
    if not reasoning.is_optional:
        return f"{literal(reasoning.begin, special_tokens)} {thought}"
    return f"{begin.expression} {thought} | answer"
