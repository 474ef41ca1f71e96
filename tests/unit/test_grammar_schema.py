"""Schemas before they are compiled: what is refused, by which name, and what becomes of the rest."""

import re

import pytest

from fixtures.grammars import schema_grammar, small_compiler
from inglenook.errors import InvalidRequestError
from inglenook.grammar.json_schema import prepare_schema


def refusal(schema: object) -> str:
    with pytest.raises(InvalidRequestError) as error:
        small_compiler().compile(schema_grammar(schema), param="response_format")
    assert error.value.param == "response_format" and error.value.status == 400
    return error.value.message


STRINGS = {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("hiccup", "not a string"),
        (5, "not a number"),
        (None, "not null"),
        ([], "not a list"),
        ({"type": 123}, "'type' at # "),
        ({"type": "strnig"}, "'type' at # "),
        ({"type": "object", "properties": {"a": 5}}, "#/properties/a must be a schema"),
        ({"type": "object", "required": "a"}, "'required' at # "),
        ({"type": "string", "minLength": -1}, "'minLength' at # "),
        ({"type": "string", "maxLength": 1.5}, "'maxLength' at # "),
        ({"not": {"type": "string"}}, "'not' at # "),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, "'if' at # "),
        ({"properties": {"t": {**STRINGS, "uniqueItems": True}}}, "'uniqueItems' at #/properties/t "),
        ({**STRINGS, "contains": {"const": "x"}}, "'contains' at # "),
        ({"type": "array", "unevaluatedItems": False}, "'unevaluatedItems' at # "),
        ({"type": "object", "unevaluatedProperties": False}, "'unevaluatedProperties' at # "),
        ({"type": "object", "dependentSchemas": {"a": {}}}, "'dependentSchemas' at # "),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "'dependentRequired' at # "),
        ({"type": "object", "dependencies": {"a": ["b"]}}, "'dependencies' at # "),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, "'propertyNames' at # "),
        ({"$dynamicRef": "#x"}, "'$dynamicRef' at # "),
        ({"type": "string", "format": "iri"}, "'format' 'iri' at # "),
        ({"type": "object", "minProperties": 2}, "'minProperties' above 1"),
        ({"type": "object", "properties": {"a": {}}, "maxProperties": 1, "minProperties": 1}, "maxProperties"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"patternProperties": {"^a": {}, "b$": {}}}, "patternProperty"),
        ({"$ref": "http://example.com/schema"}, "another document"),
        ({"$ref": "#/$defs/nope"}, "'#/$defs/nope', which isn't there"),
        ({"$ref": "#nope"}, "'#nope', which isn't there"),
        ({"$ref": "#/properties", "properties": {"a": {}}}, "which isn't a schema"),
        ({"$ref": "#/const", "const": {"type": "string"}}, "which isn't a schema"),
        ({"items": {"$id": "urn:x"}}, "'$id' below the root at #/items"),
        ({"pattern": "(?=a)b"}, "#/pattern has look-around"),
        ({"pattern": r"(a)\1"}, "#/pattern has backreferences"),
        ({"pattern": r"\bfoo"}, "#/pattern has word boundaries"),
        ({"pattern": "a++"}, "#/pattern has possessive quantifiers"),
        ({"pattern": "(a"}, "unclosed group"),
        ({"const": 2**53 + 1}, "beyond 2^53"),
        ({"enum": ["\x01"]}, "control character"),
        ({"type": "integer", "multipleOf": 1234567}, "'multipleOf' of more than 1000"),
        ({"enum": []}, "Unsatisfiable"),
        (False, "not"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "'a' is unsatisfiable"),
        ({"$ref": "#"}, "no value of # can ever end"),
        ({"properties": {"a": {"required": ["a"], "properties": {"a": {"$ref": "#/properties/a"}}}}}, "can ever end"),
    ],
)
def test_what_cannot_be_enforced_is_named(schema: object, said: str) -> None:
    message = refusal(schema)
    assert said in message, message
    assert len(message) < 700


@pytest.mark.parametrize(
    "harmless",
    [
        {"uniqueItems": False},
        {"dependentRequired": {}},
        {"unevaluatedProperties": True},
        {"then": {"minLength": 3}},
        {"minContains": 3},
        {"nullable": True, "x-order": 3, "deprecated": True, "discriminator": {"propertyName": "kind"}},
        {"$schema": "https://example.com/unknown", "title": "T", "examples": [1]},
        {"contentEncoding": "base64"},
    ],
)
def test_what_says_nothing_is_let_through(harmless: dict) -> None:
    small_compiler().compile(schema_grammar({"type": "object", **harmless}), param="p")


def test_a_clients_own_options_for_the_grammar_do_not_count() -> None:
    lenient = {"type": "array", "items": {"not": {}}, "x-guidance": {"lenient": True}}
    assert "'not'" in refusal(lenient)


def test_only_what_is_reachable_counts() -> None:
    schema = {"type": "integer", "$defs": {"unused": {"not": {"type": "string"}}}}
    assert prepare_schema(schema, param="p") == schema


def test_the_clients_schema_stays_as_it_is() -> None:
    schema = {"items": [{"type": "string", "format": "date"}], "exclusiveMinimum": True, "minimum": 1}
    before = repr(schema)
    prepare_schema(schema, param="p")
    assert repr(schema) == before


def test_older_drafts_are_read() -> None:
    schema = {"type": "array", "items": [{"type": "string"}], "additionalItems": False}
    assert prepare_schema(schema, param="p") == {"type": "array", "prefixItems": [{"type": "string"}], "items": False}
    schema = {"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": False}
    assert prepare_schema(schema, param="p") == {"type": "number", "exclusiveMinimum": 1, "maximum": 3}


def test_keywords_of_one_type_mean_that_type() -> None:
    assert prepare_schema({"properties": {"a": {"minLength": 1}}}, param="p") == {
        "type": "object",
        "properties": {"a": {"type": "string", "minLength": 1}},
    }
    # Under oneOf a value must fit one alternative as it stands, so nothing is added there.
    apart = {"oneOf": [{"required": ["a"]}, {"minItems": 1}], "$defs": {"q": {"minLength": 1}}}
    assert prepare_schema(apart, param="p") == apart


def nested(levels: int) -> dict:
    schema: dict = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def chain(length: int) -> dict:
    definitions = {f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(length)}
    return {"$defs": {**definitions, f"d{length}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


def doubling(kind: str, length: int) -> dict:
    definitions = {
        f"d{i}": {kind: [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]} for i in range(length)
    }
    return {"$defs": {**definitions, f"d{length}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


HOSTILE = {
    "10,000 levels": nested(10_000),
    "10,000 references": chain(10_000),
    "900 references": chain(450),
    "a huge enum": {"enum": [f"{'x' * 50}{i}" for i in range(40_000)]},
    "a large enum": {"enum": [f"value {i}" for i in range(10_000)]},
    "many properties": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}},
    "many ways to go on": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(3000)}},
    "doubling anyOf": doubling("anyOf", 30),
    "doubling allOf": doubling("allOf", 30),
    "products": {"allOf": [{"anyOf": [{"required": [f"{i}-{j}"]} for j in range(10)]} for i in range(6)]},
    "an exponential pattern": {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"},
    "an exponential automaton": {"type": "string", "pattern": "^.*a.{500}b$"},
    "nested repetitions": {"type": "string", "pattern": "^((((a{100}){100}){100}){100})$"},
    "patterns at once": {"allOf": [{"pattern": f".*{a}.*{b}.*"} for a, b in zip("abcdefghijklmno", "bcdefghijklmnop")]},  # noqa: B905
    "multiples at once": {"allOf": [{"type": "integer", "multipleOf": n} for n in (997, 991, 983)]},
    "a huge multiple": {"type": "integer", "multipleOf": 1_000_003},
    "a long string": {"type": "string", "minLength": 100_000, "maxLength": 100_000},
    "a long list": {"type": "array", "items": {"type": "string"}, "minItems": 20_000},
    "a huge list": {"type": "array", "items": {"type": "string"}, "maxItems": 1_000_000_000},
    "lists of lists": {"type": "array", "maxItems": 9000, "items": {"type": "array", "maxItems": 9000, "items": {}}},
    "a recursive schema": {"type": "object", "properties": {"next": {"$ref": "#"}}},
    "an endless schema": {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
    "references in a ring": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "a tangle": {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{i}": {"properties": {f"p{j}": {"$ref": f"#/$defs/d{(i * 7 + j) % 300}"} for j in range(20)}}
            for i in range(300)
        },
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_or_compiled(name: str) -> None:
    try:
        compiled = small_compiler().compile(schema_grammar(HOSTILE[name]), param="response_format")
    except InvalidRequestError as error:
        message = error.message
    else:
        compiled.start().forced()
        message = ""
    assert not re.search(r"0x[0-9a-f]{6}|/home|\.rs|Parser Error", message)
