"""Grammars of free text in which certain marks begin something that is held to a grammar of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from inglenook.lark import CallBlock, Lark, literal

TEXT = "ANSWER_TEXT"
SPACES = "ANSWER_SPACES"
RULES = (f"{TEXT}: /(.|\\n)*/", f"{SPACES}: /[ \\t\\r\\n]*/")


def text_up_to(name: str, mark: str, special_tokens: Mapping[str, int], *, taken: str = "") -> Lark:
    """Any text up to the first time that the mark comes, with the mark; but none that the terminal `taken` matches.

    `name` begins the names of its rules.
    """
    text, rest = _split(mark, special_tokens)
    terminal = f"{name}_text".upper()
    if not text:  # free text never holds a special token
        text_rule = f"{terminal}: {_without(TEXT, taken)}" if taken else ""
        return Lark(f"{terminal if taken else TEXT} {rest}", (*RULES, *filter(None, [text_rule])))
    rules = (f"{terminal}: {_without(f'{TEXT} {literal(text, {})}', taken)}", f"{name}_head[lazy]: {terminal}")
    return Lark(f"{name}_head {rest}".strip(), (*RULES, *rules))


def text_without(name: str, mark: str, special_tokens: Mapping[str, int]) -> Lark:
    """Any text in which the mark doesn't come."""
    text, _ = _split(mark, special_tokens)
    if not text:
        return Lark(TEXT, RULES)
    terminal = f"{name}_open".upper()
    return Lark(terminal, (*RULES, f"{terminal}: {_without(TEXT, f'({TEXT} {literal(text, {})} {TEXT})')}"))


def at_start(name: str, mark: str, special_tokens: Mapping[str, int]) -> Lark:
    """The mark, with white space before it or none."""
    text, rest = _split(mark, special_tokens)
    if not text:
        return Lark(f"{SPACES} {rest}", RULES)
    terminal = f"{name}_mark".upper()
    return Lark(f"{terminal} {rest}".strip(), (*RULES, f"{terminal}: {SPACES} {literal(text, {})}"))


def free_text(
    name: str,
    blocks: Sequence[CallBlock],
    special_tokens: Mapping[str, int],
    *,
    is_repeated: bool,
    not_first: Sequence[str] = (),
) -> Lark:
    """Any text, with blocks where their triggers come: any number, or one that ends it.

    It doesn't begin with a mark of `not_first`: that is for another rule.
    """
    rules = list(RULES)
    inner = [block for block in blocks if not block.is_first]
    first = [block for block in blocks if block.is_first]

    def calls_in_text(name: str, taken: str = "") -> list[str]:
        calls = []
        for index, block in enumerate(inner):
            head = text_up_to(f"{name}_{index}", block.trigger, special_tokens, taken=taken)
            rules.extend((*head.rules, *block.body.rules))
            calls.append(f"{head.expression} {block.body.expression}")
        return calls

    later = ""
    if is_repeated:
        calls = calls_in_text(f"{name}_later")
        repeated = f"({' | '.join(calls)})* " if calls else ""
        rules.append(f"{name}_later: {repeated}{TEXT}")
        later = f"{name}_later"
    choices = []
    for index, block in enumerate(first):
        mark = at_start(f"{name}_first_{index}", block.trigger, special_tokens)
        rules.extend((*mark.rules, *block.body.rules))
        choices.append(f"{mark.expression} {block.body.expression} {later}")
    taken = _taken(name, [*(block.trigger for block in first), *not_first], special_tokens, rules)
    choices += [f"{call} {later}" for call in calls_in_text(name, taken)]
    rules.append(f"{name.upper()}_ALL: {_without(TEXT, taken)}")
    rules.append(f"{name}: {' | '.join([*choices, f'{name.upper()}_ALL'])}")
    return Lark(name, tuple(rules))


def _taken(name: str, marks: Sequence[str], special_tokens: Mapping[str, int], rules: list[str]) -> str:
    """A terminal for the texts that begin with a mark; none where all have special tokens, which no text holds."""
    texts = [literal(mark, {}) for mark in marks if not _split(mark, special_tokens)[1]]
    if not texts:
        return ""
    terminal = f"{name.upper()}_TAKEN"
    rules.append(f"{terminal}: {SPACES} ({' | '.join(texts)}) {TEXT}")
    return terminal


def _without(terminal: str, taken: str) -> str:
    return f"({terminal}) & ~{taken}" if taken else terminal


def _split(mark: str, special_tokens: Mapping[str, int]) -> tuple[str, str]:
    """A mark's beginning as far as it is text (perhaps nothing), and the rest as an expression."""
    names = sorted((name for name in special_tokens if name in mark), key=len, reverse=True)
    found = re.search("|".join(map(re.escape, names)), mark) if names else None
    return (mark, "") if found is None else (mark[: found.start()], literal(mark[found.start() :], special_tokens))
