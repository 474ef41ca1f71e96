"""Every family's grammar: it lets the model write the family's cases, and nothing that isn't a valid call."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer
from llguidance._tokenizer import TokenizerWrapper

from fixtures.tool_cases import TOOLS, ToolCase, canonical_cases
from fixtures.tool_cases.vocabulary import END_OF_TURN, byte_tokenizer
from inglenook.lark import CallBlock, literal
from inglenook.text.output import ToolFormat
from inglenook.text.tokenizer import Tokenizer
from inglenook.text.tool_formats import registry
from inglenook.text.tool_formats.schemas import arguments_schema
from inglenook.types import Tool

CASES = canonical_cases()
FORMATS = sorted({case.format for case in CASES})
each_format = pytest.mark.parametrize("name", FORMATS)


class Vocabulary:
    """As TokenizerWrapper wants it."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eos_token_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.tokens = [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size)]

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


@cache
def vocabulary(tool_format: ToolFormat) -> tuple[Tokenizer, LLTokenizer, dict[str, int]]:
    tokenizer = byte_tokenizer(tool_format.special_tokens)
    wrapped = LLTokenizer(TokenizerWrapper(Vocabulary(tokenizer)), n_vocab=tokenizer.vocab_size)
    return tokenizer, wrapped, {name: tokenizer.encode(name)[0] for name in tool_format.special_tokens}


def matcher(
    name: str, tools: Sequence[Tool] = TOOLS, *, is_required: bool = False, is_parallel: bool = True
) -> LLMatcher:
    tool_format = registry.find(name)
    _, wrapped, special = vocabulary(tool_format)
    blocks = tool_format.blocks(tools, special, is_parallel=is_parallel)
    made = LLMatcher(wrapped, grammar(blocks, special, is_required=is_required, is_parallel=is_parallel))
    assert not made.get_error(), made.get_error()
    return made


def grammar(blocks: Sequence[CallBlock], special: dict[str, int], *, is_required: bool, is_parallel: bool) -> str:
    """Calls alone, or text with calls in it."""
    rules = {rule for block in blocks for rule in block.body.rules}
    calls, firsts, later = [], [], []
    for index, block in enumerate(blocks):
        trigger = literal(block.trigger, special)
        rules.add(f"block_{index}: {trigger} {block.body.expression}")
        calls.append(f"block_{index}")
        if block.is_first:
            firsts.append(f"block_{index}")
        elif trigger.startswith("<"):
            later.append(f"TEXT block_{index}")
        else:
            rules.add(f"head_{index}[lazy]: TEXT {trigger}")
            later.append(f"head_{index} {block.body.expression}")
    call = f"({' | '.join(calls)})"
    start = rf"{call} (/\n?/ {call})*" if is_parallel else call
    if not is_required:
        first = f"({' | '.join(firsts)})?" if firsts else ""
        start = f"{first} ({' | '.join(later)})* TEXT" if later else f"{first} TEXT"
    return "\n".join(["%llguidance {}", f"start: {start}", r"TEXT: /(.|\n)*/", *sorted(rules)])


def consumed(made: LLMatcher, tokenizer: Tokenizer, text: str) -> int:
    """How many characters the grammar lets through."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    return len(tokenizer.decode(ids[: made.try_consume_tokens(ids)], skip_special_tokens=False))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_the_family_writes_is_allowed(case: ToolCase) -> None:
    made = matcher(case.format, is_required=case.is_cut)
    assert consumed(made, byte_tokenizer(registry.find(case.format).special_tokens), case.text) == len(case.text)
    assert made.is_accepting() is not case.is_cut


def cased(name: str, case_name: str) -> ToolCase:
    return next(case for case in CASES if case.format == name and case.name == case_name)


@each_format
def test_arguments_are_held_to_the_schema(name: str) -> None:
    text = cased(name, "a call").text
    tokenizer = byte_tokenizer(registry.find(name).special_tokens)
    for right, wrong in (("celsius", "kelvin"), ("days", "nights"), ("3}", '"3"}'), ("weather", "whether")):
        broken = text.replace(right, wrong)
        assert broken != text
        assert consumed(matcher(name, is_required=True), tokenizer, broken) == broken.index(wrong) + len(
            _common(right, wrong)
        )


def _common(one: str, other: str) -> str:
    return one[: next((i for i, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), None)]


@each_format
def test_one_call_where_calls_are_not_parallel(name: str) -> None:
    tokenizer = byte_tokenizer(registry.find(name).special_tokens)
    several = cased(name, "several calls").text
    assert consumed(matcher(name, is_required=True), tokenizer, several) == len(several)
    made = matcher(name, is_required=True, is_parallel=False)
    assert consumed(made, tokenizer, several) < len(several) / 2 + 40
    made = matcher(name, is_required=True, is_parallel=False)
    alone = cased(name, "a call").text
    assert consumed(made, tokenizer, alone) == len(alone) and made.is_accepting()


@each_format
def test_whatever_is_written_parses_and_is_valid(name: str) -> None:
    """The random model: what the grammar lets it write are calls, and their arguments satisfy the schemas."""
    tool_format = registry.find(name)
    tokenizer, _, _ = vocabulary(tool_format)
    called = set()
    for seed in range(12):
        text = written_at_random(matcher(name, is_required=True), tokenizer, random.Random(seed))
        parser = tool_format.parser(TOOLS)
        deltas = [*parser.push(text).tool_calls, *parser.finish().tool_calls]
        assert deltas, text
        for delta in deltas:
            if delta.name is None:
                continue
            tool = next(tool for tool in TOOLS if tool.name == delta.name)
            arguments = "".join(d.arguments for d in deltas if d.index == delta.index)
            jsonschema.validate(json.loads(arguments), arguments_schema(tool))
            called.add(tool.name)
    assert len(called) > 2


def written_at_random(made: LLMatcher, tokenizer: Tokenizer, chance: random.Random) -> str:
    """Likes characters that end things, so that it ends."""
    mask = np.zeros((1, (tokenizer.vocab_size + 31) // 32), np.int32)
    end = tokenizer.encode(END_OF_TURN)[0]
    closing = {*b'"}],', end}
    ids: list[int] = []
    while len(ids) < 4000:
        made.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[: tokenizer.vocab_size]
        allowed = [int(token_id) for token_id in np.flatnonzero(bits)]
        assert allowed, made.get_error()
        likely = [token_id for token_id in allowed if token_id in closing]
        chosen = chance.choice(likely if likely and chance.random() < 0.5 else allowed)
        if chosen == end:
            return tokenizer.decode(ids, skip_special_tokens=False)
        assert made.consume_token(chosen), made.get_error()
        ids.append(chosen)
    raise AssertionError("no end")
