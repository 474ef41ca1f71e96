"""JSON Schema's keywords: which are enforced, what their values must be, and which are refused."""

from __future__ import annotations

from typing import Any

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

# keyword -> what its value is. Whatever is in none of these tables is an annotation, and is left out.
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

_YEAR, _LEAP_YEAR = "[0-9]{4}", "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DATE = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([zZ]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

# Formats as patterns, where llguidance's own takes what isn't one (29 February in any year) or has none.
FORMAT_PATTERNS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}[tT]{_TIME}$",
    "byte": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    "json-pointer": "^(/([^~/]|~[01])*)*$",
}
FORMATS = frozenset(("duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", *FORMAT_PATTERNS))
ANNOTATING_FORMATS = frozenset(("password", "binary"))  # how a form shows it; any string is right


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
