"""A model that writes at random whatever a grammar allows: what it writes obeys the schema, whatever the schema."""

import json
import random

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fixtures.grammars import schema_grammar, small_compiler, small_vocabulary, write_at_random
from fixtures.schemas import WRITTEN, random_schemas
from inglenook.errors import InvalidRequestError

# What a schema may be refused for, of all that random_schemas() makes.
REFUSALS = ("oneOf", "inProperties", "Unsatisfiable", "can ever end", "maxProperties", "too large", "multipleOf")


def written(schema: object, seeds: range, *, use_forced: bool = True) -> list[str]:
    compiled = small_compiler().compile(schema_grammar(schema), param="p")
    answers = (
        write_at_random(compiled.start(), small_vocabulary(), random.Random(seed), use_forced=use_forced)
        for seed in seeds
    )
    return [text for text in answers if text is not None]


def check(schema: object, text: str) -> None:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    errors = [error.message for error in validator.iter_errors(json.loads(text))]
    assert not errors, f"{text} is written under {json.dumps(schema)}: {errors[0]}"


@pytest.mark.parametrize("index", range(len(WRITTEN)))
def test_written_schemas(index: int) -> None:
    schema = WRITTEN[index]
    Draft202012Validator.check_schema(schema)
    texts = written(schema, range(6)) + written(schema, range(2), use_forced=False)
    assert texts, "no answer came to its end"
    for text in texts:
        check(schema, text)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(random_schemas(), st.integers(0, 1000))
def test_random_schemas(schema: object, seed: int) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        return
    try:
        texts = written(schema, range(seed, seed + 2))
    except InvalidRequestError as error:
        texts = []
        is_known = any(reason in error.message for reason in REFUSALS)
        message = error.message
    else:
        is_known, message = True, ""
    assert is_known, message
    for text in texts:
        check(schema, text)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1, "\\u0061": "x"}'),
        ({"type": "object", "patternProperties": {"^x": {"type": "integer"}}}, '{"\\u0078": "x"}'),
        ({"type": "string", "format": "date"}, '"2023-02-29"'),
        ({"type": "string", "pattern": "^[a[b]$"}, '"c"'),
        ({"type": "string", "pattern": "^[a&&b]$"}, '"x"'),
        ({"type": "number", "maximum": 5}, "1e3"),
        ({"type": "integer"}, "1.5"),
    ],
)
def test_ways_around_a_schema_are_closed(schema: object, text: str) -> None:
    vocabulary = small_vocabulary()
    guide = small_compiler().compile(schema_grammar(schema), param="p").start()
    ids = vocabulary.encode(text)
    num_allowed = guide.count_allowed(ids)
    guide.accept(ids[:num_allowed])
    assert num_allowed < len(ids)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "pattern": "^[a[b]$"}, '"["'),
        ({"type": "string", "pattern": "^[a&&b]$"}, '"&"'),
        ({"type": "string", "pattern": "^[]a]$"}, '"]"'),
        ({"type": "string", "pattern": r"^\p{L}+$"}, '"é"'),
        ({"type": "string", "format": "date"}, '"2024-02-29"'),
        ({"type": "string", "format": "date-time"}, '"2024-02-29T23:59:59.5+01:00"'),
        ({"type": "integer", "format": "int32"}, "7"),
        ({"type": "number"}, "1.5e-3"),
        ({"$id": "https://a.b/c", "$ref": "https://a.b/c#/$defs/x", "$defs": {"x": {"const": "é\n"}}}, '"é\\n"'),
        ({"$ref": "#foo", "$defs": {"x": {"$anchor": "foo", "type": "null"}}}, "null"),
        ({"enum": [1.5, "1", {"b": [None], "a": True}]}, '{"b": [null], "a": true}'),
    ],
)
def test_what_a_schema_allows_can_be_written(schema: object, text: str) -> None:
    guide = small_compiler().compile(schema_grammar(schema), param="p").start()
    ids = small_vocabulary().encode(text)
    assert guide.count_allowed(ids) == len(ids)
