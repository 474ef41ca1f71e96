"""A tool's arguments one by one, for formats that don't write them as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.errors import UnsupportedParameterError
from inglenook.text.tool_formats.schemas import arguments_schema
from inglenook.types import Tool

_ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "x-guidance")
)
_DEFINITIONS = ("$defs", "definitions")
# What such formats are held to; what else says something of the whole object is refused.
_KNOWN = _ANNOTATIONS | {
    *("type", "properties", "required", "additionalProperties", "unevaluatedProperties", "$schema", "$id"),
    *_DEFINITIONS,
}
_MAX_REFERENCES = 50


@dataclass(frozen=True)
class Parameter:
    """`schema` holds the definitions that it refers to. `text`: what it says of a string, where it is one."""

    name: str
    is_required: bool
    schema: Mapping[str, Any]
    text: TextRule | None = None


@dataclass(frozen=True)
class TextRule:
    """A string that can be written as it is, without quotation marks. `is_nullable`: or `null`."""

    choices: tuple[str, ...] | None = None
    min_length: int = 0
    max_length: int | None = None
    is_nullable: bool = False


@dataclass(frozen=True)
class _Root:
    schema: Mapping[str, Any]
    definitions: Mapping[str, Any] = field(default_factory=dict)


def parameters(tool: Tool, format_name: str) -> tuple[Parameter, ...]:
    """In the schema's order. Raises UnsupportedParameterError for what a list of parameters can't be held to."""
    whole = arguments_schema(tool)
    root = _Root(whole, {key: whole[key] for key in _DEFINITIONS if key in whole})
    schema = _resolved(whole, root)

    def refused(what: str) -> UnsupportedParameterError:
        return UnsupportedParameterError(
            f"The parameters of the tool {tool.name[:64]!r} have {what}; calls in this model's format ({format_name}) "
            "can't be held to that. Leave it out, or choose another format with --tool-call-parser.",
            param="tools",
        )

    if unknown := sorted(schema.keys() - _KNOWN):
        raise refused(f"{unknown[0]!r} at the top")
    if schema.get("type", "object") not in ("object", ["object"]):
        raise refused("another type than object")
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    found: list[Parameter] = []
    for name in [*properties, *(name for name in required if name not in properties)]:
        value = properties.get(name, schema.get("additionalProperties", True))
        if value is False:
            if name in required:
                raise refused(f"a property that is required and forbidden, {name[:64]!r},")
            continue
        value = {} if value is True else value
        rule = _text_rule(value, root)
        found.append(Parameter(name, name in required, {**value, **root.definitions}, rule))
    return tuple(found)


def _text_rule(schema: Any, root: _Root) -> TextRule | None:
    """None where it may be something else than a string, or has conditions that need quotation marks to be kept."""
    schema = _resolved(schema, root)
    keys = schema.keys() - _ANNOTATIONS
    for union in ("anyOf", "oneOf"):
        if keys == {union}:
            return _nullable(schema[union], root)
    if not keys <= {"type", "enum", "const", "minLength", "maxLength"}:
        return None
    kinds = schema.get("type", ["string"] if keys & {"enum", "const"} else [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds == ["string"]:
        if keys & {"enum", "const"}:
            return _choices(schema) if keys <= {"type", "enum"} or keys <= {"type", "const"} else None
        return TextRule(None, schema.get("minLength", 0), schema.get("maxLength"))
    if sorted(kinds) == ["null", "string"] and not keys & {"enum", "const"}:
        return TextRule(None, schema.get("minLength", 0), schema.get("maxLength"), is_nullable=True)
    return None


def _nullable(members: Sequence[Any], root: _Root) -> TextRule | None:
    others = [member for member in members if _resolved(member, root).get("type") != "null"]
    rule = _text_rule(others[0], root) if len(others) == 1 and len(members) == 2 else None
    if rule is None or rule.is_nullable or "null" in (rule.choices or ()):
        return None
    return TextRule(rule.choices, rule.min_length, rule.max_length, is_nullable=True)


def _choices(schema: Mapping[str, Any]) -> TextRule | None:
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    return TextRule(tuple(values)) if values and all(isinstance(value, str) for value in values) else None


def _resolved(schema: Any, root: _Root) -> Mapping[str, Any]:
    """Without a reference at its top, where nothing else stands beside it."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, Mapping):
            return {} if schema is True else {"not": {}}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or schema.keys() - _ANNOTATIONS - {"$ref", *_DEFINITIONS}:
            break
        target = _target(reference, root)
        if target is None:
            break
        schema = target
    return schema  # type: ignore[no-any-return]


def _target(reference: str, root: _Root) -> Any:
    if not reference.startswith("#/"):
        return None
    value: Any = root.schema
    for part in reference[2:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
