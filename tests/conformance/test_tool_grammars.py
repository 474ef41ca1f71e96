"""Every family's grammar: it lets the model write the family's cases, and nothing that isn't a valid call."""

from __future__ import annotations

import json
import random
import re
from functools import cache, partial
from typing import Literal

import jsonschema
import numpy as np
import pytest

from fixtures.tool_cases import TOOLS, ToolCase, canonical_cases
from fixtures.tool_cases.vocabulary import END_OF_TURN, byte_tokenizer
from inglenook.grammar.compiler import GrammarCompiler
from inglenook.grammar.guide import TokenGuide
from inglenook.grammar.response import response_grammar
from inglenook.grammar.vocabulary import Vocabulary
from inglenook.text.tokenizer import Tokenizer
from inglenook.text.tool_formats import registry
from inglenook.text.tool_formats.schemas import arguments_schema

CASES = canonical_cases()
FORMATS = sorted({case.format for case in CASES})
AT_BEGINNING = ("functionary_v3.2", "pythonic")
ENDINGS = ("\n</parameter>\n", "</parameter>\n", "</arg_value>\n", "</arg_value>")  # of values without quotation marks
each_format = pytest.mark.parametrize("name", FORMATS)


class Writer:
    """Writes what a guide allows, with the family's special tokens in the vocabulary or without any."""

    def __init__(
        self,
        name: str,
        mode: Literal["auto", "required"] = "required",
        *,
        is_parallel: bool = True,
        has_special: bool = True,
    ) -> None:
        tool_format = registry.find(name)
        self._tokenizer, compiler = _compiler(tool_format.special_tokens if has_special else frozenset())
        special = compiler.vocabulary.special_tokens
        blocks = tool_format.blocks(TOOLS, special, is_parallel=is_parallel)
        grammar = response_grammar(blocks=blocks, mode=mode, is_parallel=is_parallel, special_tokens=special)
        self._end = special[END_OF_TURN]
        self._guide: TokenGuide = compiler.compile(grammar, param="tools").start()

    def num_allowed(self, text: str) -> int:
        """How many characters of it can be written; it is, up to there."""
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        ids = ids[: self._guide.count_allowed(ids)]
        self._guide.accept(ids)
        return len(self._tokenizer.decode(ids, skip_special_tokens=False))

    @property
    def may_end(self) -> bool:
        return self._guide.is_finished or self._guide.count_allowed([self._end]) == 1

    def at_random(self, chance: random.Random) -> str:
        """Likes characters that end things, so that it ends."""
        size = self._tokenizer.vocab_size
        mask = np.zeros((size + 31) // 32, np.uint32)
        closing = {*b'"}],', self._end}
        ids: list[int] = []
        while len(ids) < 4000:
            ending = self._tokenizer.encode(chance.choice(ENDINGS), add_special_tokens=False)
            if chance.random() < 0.1 and self._guide.count_allowed(ending) == len(ending):
                self._guide.accept(ending)
                ids += ending
            if self._guide.is_finished:
                return self._tokenizer.decode(ids, skip_special_tokens=False)
            self._guide.fill_mask(mask)
            bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[:size]
            allowed = [int(token_id) for token_id in np.flatnonzero(bits)]
            likely = [token_id for token_id in allowed if token_id in closing]
            chosen = chance.choice(likely if likely and chance.random() < 0.5 else allowed)
            if chosen == self._end:
                return self._tokenizer.decode(ids, skip_special_tokens=False)
            self._guide.accept([chosen])
            ids.append(chosen)
        raise AssertionError("no end")


@cache
def _compiler(special_tokens: frozenset[str]) -> tuple[Tokenizer, GrammarCompiler]:
    tokenizer = byte_tokenizer(special_tokens)
    encode = partial(tokenizer.encode, add_special_tokens=False)
    vocabulary = Vocabulary(
        size=tokenizer.vocab_size,
        num_tokens=tokenizer.vocab_size,
        token_bytes=tokenizer.token_bytes,
        encode=encode,
        special_tokens={name: encode(name)[0] for name in (END_OF_TURN, *special_tokens)},
        end_ids=tokenizer.end_of_turn_ids,
    )
    return tokenizer, GrammarCompiler(vocabulary)


@pytest.mark.parametrize("has_special", [True, False], ids=["special tokens", "text alone"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_the_family_writes_is_allowed(case: ToolCase, has_special: bool) -> None:
    if case.format == "mistral" and not has_special:
        pytest.skip("Its vocabulary says which style it has.")
    writer = Writer(case.format, "auto", has_special=has_special)
    assert writer.num_allowed(case.text) == len(case.text)
    assert writer.may_end is not case.is_cut


def cased(name: str, case_name: str) -> ToolCase:
    return next(case for case in CASES if case.format == name and case.name == case_name)


@pytest.mark.parametrize("mode", ["auto", "required"])
@each_format
def test_arguments_are_held_to_the_schema(name: str, mode: Literal["auto", "required"]) -> None:
    text = cased(name, "a call").text
    for right, wrong in (("celsius", "kelvin"), ("days", "nights"), ("3", "x"), ("weather", "whether")):
        if right == "weather" and name in AT_BEGINNING and mode == "auto":
            continue  # an answer that doesn't begin with a known name is text
        broken = re.sub(rf"(?<![\dA-Z]){right}(?!\w)|{right}(?=_)|(?<=_){right}", wrong, text)
        num_right = next(index for index, pair in enumerate(zip(text, broken, strict=False)) if len(set(pair)) > 1)
        assert Writer(name, mode).num_allowed(broken) == num_right


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "openai"])  # its calls come one by one
def test_one_call_where_calls_are_not_parallel(name: str) -> None:
    several = cased(name, "several calls").text
    assert Writer(name).num_allowed(several) == len(several)
    assert Writer(name, is_parallel=False).num_allowed(several) <= several.index("get_weather_alerts")
    alone = cased(name, "a call").text
    for mode in ("auto", "required"):
        writer = Writer(name, mode, is_parallel=False)
        assert writer.num_allowed(alone) == len(alone) and writer.may_end


@each_format
def test_nothing_but_calls_where_they_are_required(name: str) -> None:
    assert Writer(name).num_allowed("Hm, it is") < 2
    assert not Writer(name).may_end


@each_format
def test_whatever_is_written_parses_and_is_valid(name: str) -> None:
    """The random model: what the grammar lets it write are calls, and their arguments satisfy the schemas."""
    tool_format = registry.find(name)
    called = set()
    for seed in range(12):
        text = Writer(name).at_random(random.Random(seed))
        parser = tool_format.parser(TOOLS)
        pieces = [parser.push(text), parser.finish()]
        deltas = [delta for piece in pieces for delta in piece.tool_calls]
        assert deltas and not "".join(piece.content for piece in pieces), text
        for delta in deltas:
            if delta.name is None:
                continue
            tool = next(tool for tool in TOOLS if tool.name == delta.name)
            arguments = "".join(d.arguments for d in deltas if d.index == delta.index)
            jsonschema.validate(json.loads(arguments), arguments_schema(tool))
            called.add(tool.name)
    assert len(called) > 2
