"""A client's JSON Schema made ready for llguidance: what it wouldn't enforce is refused here, by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.grammar.json_checks import SchemaChecks, SchemaError, kind_of
from inglenook.grammar.json_endings import check_endings
from inglenook.grammar.json_keywords import ENFORCED, SPEAKS_OF
from inglenook.grammar.json_references import References

MAX_DEPTH = 100
MAX_REFERENCE_DEPTH = 1_000  # the time to compile grows as its square
MAX_VALUES = 50_000
MAX_CHARACTERS = 1_000_000


def prepare_schema(schema: Any, *, param: str) -> dict[str, Any] | bool:
    """The schema as the grammar takes it. It may allow less than the client's, never more.

    Takes milliseconds. Raises InvalidRequestError with `param`: not a schema, too large, or with a part that can't be
    enforced, which the message names with its place.
    """
    try:
        if not isinstance(schema, (dict, bool)):
            raise SchemaError(f"a JSON Schema is an object or a boolean, not {kind_of(schema)}")
        if isinstance(schema, bool):
            return schema
        _check_size(schema)
        try:
            copy: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise SchemaError(f"it isn't JSON: {error}") from error
        _prepare(copy)
        return copy
    except SchemaError as error:
        raise InvalidRequestError(f"{param} can't be enforced: {error}.", param=param) from error


@dataclass
class _Place:
    schema: dict[str, Any]
    path: str
    is_below_one_of: bool = False


def _prepare(root: dict[str, Any]) -> None:
    """Changes it in place, so that references stay right. Only what is reachable from the root counts."""
    references = References(root)
    checks = SchemaChecks()
    places: dict[int, _Place] = {}
    stack: list[tuple[Any, str, bool, int]] = [(root, "#", False, 1)]
    while stack:
        schema, path, is_below_one_of, depth = stack.pop()
        if isinstance(schema, bool):
            continue
        if depth > MAX_REFERENCE_DEPTH:
            raise SchemaError(f"through its references it is nested deeper than {MAX_REFERENCE_DEPTH} levels")
        if not isinstance(schema, dict):
            raise SchemaError(f"{path} must be a schema (an object or a boolean), not {kind_of(schema)}")
        place = places.get(id(schema))
        if place is None:
            place = places[id(schema)] = _Place(schema, path)
            checks.check(schema, path)
        elif place.is_below_one_of or not is_below_one_of:
            continue
        place.is_below_one_of = is_below_one_of
        inner = list(_inner(schema, path, is_below_one_of, references))
        stack.extend((*one, depth + 1) for one in reversed(inner))  # in llguidance's order, for its depth
    for place in places.values():
        # The alternatives of a oneOf must be told apart by what they say themselves.
        if not place.is_below_one_of:
            _infer_type(place.schema)
    check_endings([(place.schema, place.path) for place in places.values()], references)


def _inner(
    schema: dict[str, Any], path: str, is_below_one_of: bool, references: References
) -> Iterator[tuple[Any, str, bool]]:
    for keyword, value in schema.items():
        kind, place, is_below = ENFORCED.get(keyword), f"{path}/{keyword}", is_below_one_of or keyword == "oneOf"
        if kind == "schema":
            yield value, place, is_below
        elif kind == "schemas":
            yield from ((inner, f"{place}/{i}", is_below) for i, inner in enumerate(value))
        elif kind == "named schemas":
            yield from ((inner, f"{place}/{name}", is_below) for name, inner in value.items())
        elif keyword == "$ref":
            yield references.target(value, place), value, is_below
            schema["$ref"] = references.local(value)


def _infer_type(schema: dict[str, Any]) -> None:
    """Keywords about one type, and no type: that type is meant. (As it stands, values of other types are allowed.)"""
    types = {SPEAKS_OF[keyword] for keyword in schema if keyword in SPEAKS_OF}
    if len(types) == 1 and not schema.keys() & {"type", "const", "enum"}:
        schema["type"] = types.pop()


def _check_size(schema: Any) -> None:
    """Before anything recursive touches it."""
    num_values = num_characters = 0
    stack: list[tuple[Any, int]] = [(schema, 1)]
    while stack:
        value, depth = stack.pop()
        num_values += 1
        if isinstance(value, dict):
            num_characters += sum(map(len, value))
            stack.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            stack.extend((inner, depth + 1) for inner in value)
        elif isinstance(value, str):
            num_characters += len(value)
        if depth > MAX_DEPTH:
            raise SchemaError(f"it is nested deeper than {MAX_DEPTH} levels")
        if num_values > MAX_VALUES or num_characters > MAX_CHARACTERS:
            raise SchemaError(f"it has more than {MAX_VALUES} values or {MAX_CHARACTERS} characters")
