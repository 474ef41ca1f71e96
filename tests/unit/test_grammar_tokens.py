"""Real grammars in the engine: the same request gets the same tokens, and they satisfy the grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from fixtures.drafters import Scripted, eager
from fixtures.guided_reference import TINY_VOCAB_SIZE, Reference, with_logprobs, without_logprobs
from fixtures.token_probes import PROMPT, engine, run
from inglenook.config import SpeculativeSettings
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.plan import MIB
from inglenook.engine.request import EngineRequest
from inglenook.grammar.compiler import GrammarCompiler
from inglenook.grammar.constraint import constraint_body
from inglenook.grammar.response import response_grammar
from inglenook.grammar.vocabulary import Vocabulary
from inglenook.lark import CallBlock, Lark, json_value
from inglenook.types import Constraint, SamplingParams

OFF, NGRAM = SpeculativeSettings("none"), SpeculativeSettings("ngram")
END = 255

# Characters, and pieces that cross the borders of what is forced: a text has many splittings.
PIECES = [chr(code) for code in range(32, 127)] + ["\n"]
PIECES += [
    '{"',
    '":',
    '": ',
    '", "',
    '"}',
    '"]',
    '["',
    "}, {",
    ", ",
    "name",
    "na",
    "me",
    "ame",
    '{"na',
    'me": "',
    "true",
]
PIECES += ["false", "tr", "als", "12", "34", "00", '"age', '": 1', "<tool", "tool_call", "_call>", "</", "red", "green"]
PIECES += [f"{a}{b}" for a in "aeioubcdfg" for b in "nrstlmkhvx"]
TOKENS = [piece.encode() for piece in PIECES] + [b""] * (TINY_VOCAB_SIZE - 1 - len(PIECES)) + [b"<end>"]


def encode(text: str) -> list[int]:
    """The longest piece each time."""
    ids = []
    while text:
        piece = max((p for p in PIECES if text.startswith(p)), key=len)
        ids.append(PIECES.index(piece))
        text = text[len(piece) :]
    return ids


COMPILER = GrammarCompiler(
    Vocabulary(
        size=TINY_VOCAB_SIZE,
        num_tokens=TINY_VOCAB_SIZE,
        token_bytes=lambda token_id: TOKENS[token_id],
        encode=encode,
        special_tokens={"<end>": END},
        end_ids=[END],
    )
)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 10, "maximum": 140},
        "is_named": {"type": "boolean"},
        "colour": {"enum": ["red", "green"]},
    },
    "required": ["name", "age", "is_named", "colour"],
    "additionalProperties": False,
}
LIST = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": {"const": "none"}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "minItems": 2,
    "maxItems": 5,
}
SCHEMAS: dict[str, Any] = {"person": PERSON, "list": LIST, "const": {"const": {"name": "tall", "age": 1234}}}


def constrained(kind: str, value: Any) -> str:
    body = constraint_body(Constraint(kind, value, "response_format"), {"<end>": END})  # type: ignore[arg-type]
    return response_grammar(body=body, special_tokens={"<end>": END})


CALL = CallBlock("<tool_call>", Lark(f'{json_value(PERSON)} "</tool_call>"'))
GRAMMARS = {
    **{name: constrained("json_schema", schema) for name, schema in SCHEMAS.items()},
    "regex": constrained("regex", r"(name: [a-d]{2,6}; ){1,3}end of names"),
    "choice": constrained("choice", ["green", "greener still", "red"]),
    "auto": response_grammar(blocks=[CALL], special_tokens={"<end>": END}),
    "required": response_grammar(blocks=[CALL], mode="required", special_tokens={"<end>": END}),
}


def request(name: str, grammar: str, number: int, temperature: float) -> EngineRequest:
    sampling = SamplingParams(max_tokens=60, temperature=temperature, seed=number)
    compiled = COMPILER.compile(grammar, param="response_format")
    return EngineRequest(name, (*PROMPT, number), sampling, frozenset({END}), start_guide=compiled.start)


REQUESTS = [
    request(f"{name} at {temperature}", grammar, number, temperature)
    for number, (name, grammar) in enumerate(GRAMMARS.items())
    for temperature in (0.0, 1.0)
]


@pytest.fixture(scope="module")
def plain() -> Iterator[AsyncEngine]:
    with engine(OFF, enable_prefix_caching=False, max_num_seqs=16) as plain:
        yield plain


@pytest.fixture(scope="module")
def expected(plain: AsyncEngine) -> dict[str, tuple[Any, ...]]:
    reference = Reference(plain)
    return {request.request_id: reference.run(request) for request in REQUESTS}


def test_the_tokens_satisfy_the_grammar(expected: dict[str, tuple[Any, ...]]) -> None:
    num_complete = 0
    for name, (tokens, finish_reason, _) in expected.items():
        if finish_reason == "length":
            continue
        num_complete += 1
        text = b"".join(TOKENS[t] for t in tokens if t != END).decode()
        kind = name.partition(" at ")[0]
        if kind in SCHEMAS:
            jsonschema.validate(json.loads(text), SCHEMAS[kind])
        elif kind == "regex":
            assert re.fullmatch(r"(name: [a-d]{2,6}; ){1,3}end of names", text)
        elif kind == "choice":
            assert text in ("green", "greener still", "red")
        else:
            for call in re.findall("<tool_call>(.*?)</tool_call>", text):
                jsonschema.validate(json.loads(call), PERSON)
    assert num_complete > 8


def test_alone_and_together(plain: AsyncEngine, expected: dict[str, tuple[Any, ...]]) -> None:
    for one in REQUESTS:
        assert without_logprobs(run(plain, [one])) == {one.request_id: expected[one.request_id]}
    assert without_logprobs(run(plain, REQUESTS)) == expected


def test_forced_tokens_take_no_steps_of_their_own(plain: AsyncEngine, expected: dict[str, tuple[Any, ...]]) -> None:
    before = plain.stats()
    run(plain, [r for r in REQUESTS if r.request_id == "list at 0.0"])
    after = plain.stats()
    num_tokens = after.num_generation_tokens - before.num_generation_tokens
    assert num_tokens == len(expected["list at 0.0"][0])
    assert after.num_steps - before.num_steps < 0.5 * num_tokens


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_num_batched_tokens": 9},
        {"kv_cache_memory_bytes": MIB // 32, "enable_prefix_caching": False},
        {"kv_cache_memory_bytes": MIB // 32},
    ],
    ids=str,
)
def test_chunked_preempted_cached(
    expected: dict[str, tuple[Any, ...]], settings: dict[str, Any], logprobs: bool
) -> None:
    requests = with_logprobs(REQUESTS) if logprobs else REQUESTS
    with engine(OFF, **settings) as other:
        for _ in range(2):
            assert without_logprobs(run(other, requests)) == expected


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("accuracy", [0.5, 1.0])
def test_speculated(expected: dict[str, tuple[Any, ...]], accuracy: float, logprobs: bool) -> None:
    scripts = {name: list(tokens) for name, (tokens, _, _) in expected.items()}
    requests = with_logprobs(REQUESTS) if logprobs else REQUESTS
    with engine(NGRAM) as speculative:
        drafter = Scripted(scripts, accuracy)
        speculative._engine.scheduler.speculator = eager(drafter, max_rows=16, max_draft_tokens=7)
        for one in requests:
            assert without_logprobs(run(speculative, [one])) == {one.request_id: expected[one.request_id]}
        assert without_logprobs(run(speculative, requests)) == expected
        assert speculative.stats().num_accepted_tokens > 20


def test_without_an_end_token_among_the_stops_the_grammar_ends_it(plain: AsyncEngine) -> None:
    ignoring = [replace(r, sampling=replace(r.sampling, ignore_eos=True, min_tokens=60)) for r in REQUESTS[:2]]
    for name, (tokens, finish_reason, stop_token_id) in without_logprobs(run(plain, ignoring)).items():
        assert (finish_reason, stop_token_id) == ("stop", None), name
        assert END not in tokens[:-1]
