"""What a tool's arguments may be: the schema that its calls are held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.lark import json_value
from inglenook.types import Tool

# What adds properties to an object from elsewhere in its schema.
_COMBINING = frozenset(
    ("allOf", "anyOf", "oneOf", "$ref", "if", "then", "else", "dependentSchemas", "patternProperties", "not")
)
_OPENNESS = frozenset(("additionalProperties", "unevaluatedProperties"))
_SCHEMA_LISTS = ("anyOf", "oneOf", "prefixItems")
_SCHEMA_MAPS = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")


def arguments_schema(tool: Tool) -> dict[str, Any]:
    """Always of an object; of one without members where the tool has no parameters. Doing it twice changes nothing."""
    if not tool.parameters:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    try:
        schema = close_objects(tool.parameters)
    except RecursionError:
        raise too_deep(tool) from None
    return schema if "type" in schema or "$ref" in schema else {"type": "object", **schema}


def too_deep(tool: Tool) -> InvalidRequestError:
    return InvalidRequestError(f"The parameters of the tool {tool.name[:64]!r} are nested too deeply.", param="tools")


def arguments_rule(tool: Tool, index: int) -> tuple[str, str]:
    """The name of the rule for arguments of the index-th tool, and the rule. Its $defs are its own."""
    name = f"arguments_{index}"
    return name, f"{name}: {json_value(arguments_schema(tool))}"


def close_objects(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema, with objects closed that name their properties and don't say whether there may be others.

    What is put together from several schemas stays open, since each would forbid the others' properties. So do all
    definitions, if any of them may be such a part.
    """
    closed: dict[str, Any] = _closed(schema, has_parts=_has_parts(schema))
    return closed


def _closed(schema: Any, *, has_parts: bool, is_part: bool = False) -> Any:
    """`is_part`: the object that it describes is described elsewhere too."""
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    is_combined = not _COMBINING.isdisjoint(schema)
    if "properties" in schema and not is_part and not is_combined and _OPENNESS.isdisjoint(schema):
        closed["additionalProperties"] = False

    def inner(value: Any, is_part: bool = False) -> Any:
        return _closed(value, has_parts=has_parts, is_part=is_part)

    for key in _SCHEMA_MAPS:
        if isinstance(value := schema.get(key), Mapping):
            closed[key] = {name: inner(part) for name, part in value.items()}
    for key in _SCHEMA_LISTS:
        if isinstance(value := schema.get(key), list):
            is_shared = key != "prefixItems" and (
                is_part or "properties" in schema or len(_COMBINING & schema.keys()) > 1
            )
            closed[key] = [inner(part, is_shared) for part in value]
    for key in ("items", "additionalProperties"):
        if key in schema:
            closed[key] = inner(schema[key])
    if not has_parts:
        for key in _DEFINITIONS:
            if isinstance(value := schema.get(key), Mapping):
                closed[key] = {name: inner(part) for name, part in value.items()}
    return closed


def _has_parts(value: Any) -> bool:
    """Whether an object is put together from a definition and something else."""
    if isinstance(value, Mapping):
        is_put_together = "allOf" in value or ("$ref" in value and "properties" in value)
        return is_put_together or any(map(_has_parts, value.values()))
    return isinstance(value, list) and any(map(_has_parts, value))
