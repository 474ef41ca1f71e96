"""JSON Schema's keywords: which are enforced, what their values must be, and which are refused."""

from __future__ import annotations

from typing import Any

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

# keyword -> what its value is. What is in none of these tables is an annotation.
ENFORCED = {
    "type": "types",
    "enum": "values",
    "const": "value",
    "$ref": "string",
    "$anchor": "string",
    "$defs": "definitions",
    "definitions": "definitions",
    "anyOf": "schemas",
    "oneOf": "schemas",
    "allOf": "schemas",
    "properties": "named schemas",
    "patternProperties": "named schemas",
    "additionalProperties": "schema",
    "required": "strings",
    "minProperties": "count",
    "maxProperties": "count",
    "items": "schema",
    "prefixItems": "schemas",
    "minItems": "count",
    "maxItems": "count",
    "minLength": "count",
    "maxLength": "count",
    "pattern": "string",
    "format": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}

# keyword -> values with which it says nothing
REFUSED: dict[str, tuple[Any, ...]] = {
    "not": (False,),
    "if": (),
    "dependentSchemas": ({},),
    "dependentRequired": ({},),
    "dependencies": ({},),
    "unevaluatedProperties": (True, {}),
    "unevaluatedItems": (True, {}),
    "uniqueItems": (False,),
    "contains": (),
    "propertyNames": (True, {}),
    "$dynamicRef": (),
    "$recursiveRef": (),
}

# Of no use to the grammar, or read by llguidance in a way of its own.
LEFT_OUT = frozenset(
    ("$schema", "id", "$dynamicAnchor", "then", "else", "minContains", "maxContains", "additionalItems", "x-guidance")
)

# What each keyword speaks of; it says nothing of values of other types.
SPEAKS_OF = {
    "properties": "object",
    "patternProperties": "object",
    "additionalProperties": "object",
    "required": "object",
    "minProperties": "object",
    "maxProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "minLength": "string",
    "maxLength": "string",
    "pattern": "string",
    "format": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}


def is_right(kind: str, value: Any) -> bool:
    """Whether a keyword's value is of the kind that ENFORCED says; schemas inside of it are looked at on their own."""
    if kind == "types":
        names = value if isinstance(value, list) and value else [value]
        return all(isinstance(name, str) and name in TYPES for name in names)
    if kind == "values":
        return isinstance(value, list)
    if kind in ("schemas", "strings"):
        inner = (dict, bool) if kind == "schemas" else str
        return isinstance(value, list) and all(isinstance(item, inner) for item in value)
    if kind in ("named schemas", "definitions"):
        return isinstance(value, dict)
    if kind == "count":
        return is_number(value) and value >= 0 and value == int(value)
    if kind == "number":
        return is_number(value)
    if kind == "schema":
        return isinstance(value, (dict, bool))
    return kind == "value" or isinstance(value, str)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
