"""Arguments that are written one by one: what the grammar allows, and the JSON that the parser makes of it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from llguidance import LLMatcher, LLTokenizer

from inglenook.errors import UnsupportedParameterError
from inglenook.lark import literal
from inglenook.text.tool_formats import registry
from inglenook.types import Tool

BYTES = LLTokenizer("byte")
XML = ("qwen3_coder", "seed_oss", "glm45", "glm47", "minimax_m2")
FORMATS = (*XML, "pythonic", "olmo3")
each_format = pytest.mark.parametrize("name", FORMATS)


def tool(properties: dict[str, Any], required: list[str] | None = None, **schema: Any) -> Tool:
    required = list(properties) if required is None else required
    return Tool("f", {}, parameters={"type": "object", "properties": properties, "required": required, **schema})


def call(name: str, values: list[tuple[str, str]]) -> str:
    """`values` are as the format has them."""
    match name:
        case "qwen3_coder":
            written = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values)
            return f"<tool_call>\n<function=f>\n{written}</function>\n</tool_call>"
        case "seed_oss":
            written = "".join(f"<parameter={key}>{value}</parameter>\n" for key, value in values)
            return f"<seed:tool_call>\n<function=f>\n{written}</function>\n</seed:tool_call>"
        case "glm45":
            written = "".join(f"<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n" for key, value in values)
            return f"<tool_call>f\n{written}</tool_call>"
        case "glm47":
            written = "".join(f"<arg_key>{key}</arg_key><arg_value>{value}</arg_value>" for key, value in values)
            return f"<tool_call>f{written}</tool_call>"
        case "minimax_m2":
            written = "".join(f'<parameter name="{key}">{value}</parameter>\n' for key, value in values)
            return f'<minimax:tool_call>\n<invoke name="f">\n{written}</invoke>\n</minimax:tool_call>'
    written = ", ".join(f"{key}={value}" for key, value in values)
    return f"[f({written})]" if name == "pythonic" else f"<function_calls>f({written})</function_calls>"


def is_allowed(name: str, function: Tool, text: str) -> bool:
    (block,) = registry.find(name).blocks([function], {}, is_parallel=True)
    start = f"start: {literal(block.trigger, {})} {block.body.expression}"
    matcher = LLMatcher(BYTES, "\n".join(["%llguidance {}", start, *block.body.rules]), log_level=0)
    assert not matcher.get_error(), matcher.get_error()
    ids = list(text.encode())
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


def arguments(name: str, function: Tool, text: str) -> Any:
    parser = registry.find(name).parser([function])
    pieces = [*map(parser.push, text), parser.finish()]
    assert not any(piece.content for piece in pieces)
    return json.loads("".join(delta.arguments for piece in pieces for delta in piece.tool_calls))


# a property's schema, what is written between marks (None: not allowed), the value
VALUES: list[tuple[Any, str, Any]] = [
    ({"type": "string"}, "", ""),
    ({"type": "string"}, "12", "12"),
    ({"type": "string"}, "null", "null"),
    ({"type": "string"}, '"a" <b>\n\n\\ {é😀}\n', '"a" <b>\n\n\\ {é😀}\n'),
    ({"type": "string"}, "\n x", "\n x"),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "é😀", "é😀"),
    ({"enum": ["a b", "</", ""]}, "</", "</"),
    ({"const": "a"}, "a", "a"),
    ({"type": ["string", "null"]}, "null", None),
    ({"type": ["string", "null"]}, "nul", "nul"),
    ({"type": ["string", "null"]}, "nullify", "nullify"),
    ({"anyOf": [{"type": "string", "maxLength": 2}, {"type": "null"}], "default": None}, "ab", "ab"),
    ({"anyOf": [{"type": "string", "maxLength": 2}, {"type": "null"}], "default": None}, "null", None),
    ({"anyOf": [{"enum": ["x"]}, {"type": "null"}]}, "x", "x"),
    ({"$ref": "#/$defs/Name"}, "Ann", "Ann"),
    ({"$ref": "#/$defs/Age", "description": "years"}, "7", 7),
    ({"type": "string", "pattern": "^[a-z]+$"}, '"abc"', "abc"),
    ({"type": "string", "format": "date"}, '"2024-02-29"', "2024-02-29"),
    ({"enum": ["a", 1, None]}, '"a"', "a"),
    ({"enum": ["</parameter>", "</arg_value>"]}, None, None),
    ({"type": ["string", "integer"]}, '"12"', "12"),
    ({"type": ["string", "integer"]}, "12", 12),
    ({"type": "boolean"}, "true", True),
    ({"type": "number"}, "-1.5", -1.5),
    ({"type": "array", "items": {"$ref": "#/$defs/Age"}}, "[1, 2]", [1, 2]),
    ({"type": "object", "additionalProperties": {"type": "string"}}, '{"a": "</parameter>"}', {"a": "</parameter>"}),
    (True, "[null]", [None]),
]
REFUSED: list[tuple[Any, str]] = [
    ({"type": "string"}, "a</parameter>b</arg_value>"),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "a"),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd"),
    ({"enum": ["a", "b"]}, "c"),
    ({"enum": ["a", "b"]}, "ab"),
    ({"anyOf": [{"type": "string", "maxLength": 2}, {"type": "null"}]}, "abc"),
    ({"type": "string", "pattern": "^[a-z]+$"}, "abc"),
    ({"type": "string", "pattern": "^[a-z]+$"}, '"ABC"'),
    ({"$ref": "#/$defs/Age"}, "-7"),
    ({"$ref": "#/$defs/Age"}, "seven"),
    ({"type": "boolean"}, "yes"),
    ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"b": 1}'),
    ({"type": "array", "maxItems": 1}, "[1, 2]"),
]
DEFINITIONS = {"$defs": {"Name": {"type": "string"}, "Age": {"type": "integer", "minimum": 0}}}


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize(("schema", "written", "value"), VALUES)
def test_values_between_marks(name: str, schema: Any, written: str | None, value: Any) -> None:
    function = tool({"p": schema, "q": {"type": "string"}}, **DEFINITIONS)
    if written is None:  # a choice that has the end in it is written with quotation marks
        value = schema["enum"]["arg" in call(name, [("p", "")])]
        written = json.dumps(value)
    text = call(name, [("p", written), ("q", "end")])
    assert is_allowed(name, function, text)
    got = arguments(name, function, text)
    assert got == {"p": value, "q": "end"}
    jsonschema.validate(got, function.parameters)


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize(("schema", "written"), REFUSED)
def test_values_that_the_schema_forbids(name: str, schema: Any, written: str) -> None:
    function = tool({"p": schema}, **DEFINITIONS)
    assert not is_allowed(name, function, call(name, [("p", written)]))


@pytest.mark.parametrize(
    ("schema", "written", "value"),
    [
        ({"type": "string"}, '"a\\né\\"\'"', "a\né\"'"),
        ({"type": "boolean"}, "True", True),
        ({"type": "null"}, "None", None),
        ({"type": "boolean", "enum": [True]}, "true", True),
        ({"type": "string", "pattern": "^a+$"}, '"aa"', "aa"),
        ({"$ref": "#/$defs/Age"}, "7", 7),
        ({"type": "object", "properties": {"x": {"type": "boolean"}}}, '{"x": true}', {"x": True}),
    ],
)
def test_values_as_python_has_them(schema: Any, written: str, value: Any) -> None:
    function = tool({"p": schema}, **DEFINITIONS)
    text = call("olmo3", [("p", written)])
    assert is_allowed("olmo3", function, text)
    assert arguments("olmo3", function, text) == {"p": value}


@each_format
def test_what_is_required_is_there_and_the_rest_may_be(name: str) -> None:
    number = {"type": "integer"}
    function = tool({"a": number, "b": number, "c": number}, ["b", "d"], additionalProperties=number)
    for keys in ("abcd", "bcd", "abd", "bd"):
        text = call(name, [(key, "1") for key in keys])
        assert is_allowed(name, function, text)
        assert arguments(name, function, text) == dict.fromkeys(keys, 1)
    for keys in ("", "acd", "abc", "bdb", "dcb", "bed"):
        assert not is_allowed(name, function, call(name, [(key, "1") for key in keys]))


@each_format
def test_no_parameters(name: str) -> None:
    function = Tool("f", {}, parameters={"type": "object"})
    assert is_allowed(name, function, call(name, []))
    assert arguments(name, function, call(name, [])) == {}


@each_format
@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"required": ["p"]}, {"required": ["q"]}]},
        {"minProperties": 1},
        {"patternProperties": {"^x": {}}},
        {"dependentRequired": {"p": ["q"]}},
        {"type": "array"},
        {"$ref": "#/$defs/Elsewhere"},
        {"required": ["r"], "additionalProperties": False},
    ],
)
def test_what_a_list_of_parameters_cannot_keep_is_refused_by_name(name: str, schema: dict[str, Any]) -> None:
    function = tool({"p": {}, "q": {}}, [], **schema) if "required" not in schema else tool({"p": {}}, **schema)
    with pytest.raises(UnsupportedParameterError, match="'f'") as caught:
        registry.find(name).blocks([function], {}, is_parallel=True)
    assert caught.value.param == "tools"


@each_format
def test_names_that_cannot_be_written_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedParameterError, match="a>b"):
        registry.find(name).blocks([tool({"a>b": {}})], {}, is_parallel=True)


@each_format
def test_a_reference_at_the_top(name: str) -> None:
    schema = {"$ref": "#/$defs/Args", "$defs": {"Args": {"type": "object", "properties": {"p": {"type": "integer"}}}}}
    function = Tool("f", {}, parameters=schema)
    assert is_allowed(name, function, call(name, [("p", "1")]))
    assert not is_allowed(name, function, call(name, [("p", "x")]))


def test_references_in_a_circle_end() -> None:
    function = tool({"p": {"$ref": "#/$defs/A"}}, **{"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}})
    registry.find("glm45").blocks([function], {}, is_parallel=True)
