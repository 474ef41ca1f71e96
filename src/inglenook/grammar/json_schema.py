"""A client's JSON Schema made ready for llguidance: what it wouldn't enforce is refused here, by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from inglenook.errors import InvalidRequestError
from inglenook.grammar.json_keywords import (
    ANNOTATING_FORMATS,
    ENFORCED,
    FORMAT_PATTERNS,
    FORMATS,
    REFUSED,
    SPEAKS_OF,
    TYPES,
    is_right,
)
from inglenook.grammar.patterns import PatternError, rust_pattern

MAX_DEPTH = 100
MAX_VALUES = 50_000
MAX_CHARACTERS = 1_000_000
MAX_REPEATS = 20_000  # all minItems and maxItems together
MAX_LENGTH = 100_000  # minLength, maxLength
MAX_EXACT = 2**53 - 1  # what every JSON reader holds exactly
MAX_MULTIPLE_DIGITS = 4

_ESCAPABLE = "\b\t\n\f\r"


def prepare_schema(schema: Any, *, param: str) -> dict[str, Any] | bool:
    """The schema as the grammar takes it. It may allow less than the client's, never more.

    Takes milliseconds. Raises InvalidRequestError with `param`: not a schema, too large, or with a part that can't be
    enforced, which the message names with its place.
    """
    if not isinstance(schema, (dict, bool)):
        raise InvalidRequestError(
            f"{param} isn't a JSON Schema: a schema is an object or a boolean, not {_kind(schema)}.", param=param
        )
    if isinstance(schema, bool):
        return schema
    _check_size(schema, param)
    return _Preparation(schema, param).run()


def _check_size(schema: Any, param: str) -> None:
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
            raise InvalidRequestError(f"{param} is nested deeper than {MAX_DEPTH} levels.", param=param)
        if num_values > MAX_VALUES or num_characters > MAX_CHARACTERS:
            raise InvalidRequestError(
                f"{param} is too large: more than {MAX_VALUES} values or {MAX_CHARACTERS} characters.", param=param
            )


class _Preparation:
    """Goes through what is reachable from the root of a copy, and changes it in place: references stay right."""

    def __init__(self, schema: dict[str, Any], param: str) -> None:
        self._param = param
        try:
            self._root: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"{param} isn't JSON: {error}.", param=param) from error
        self._num_repeats = 0
        self._seen: dict[int, bool] = {}  # id of a schema -> whether a oneOf reaches it
        self._untyped: dict[int, dict[str, Any]] = {}
        self._anchors: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        base = self._root.pop("$id", None)
        self._base = base.partition("#")[0] if isinstance(base, str) else ""
        stack: list[tuple[Any, str, bool]] = [(self._root, "#", False)]
        while stack:
            schema, path, in_one_of = stack.pop()
            if isinstance(schema, bool):
                continue
            if not isinstance(schema, dict):
                raise self._error(f"{path} must be a schema (an object or a boolean), not {_kind(schema)}")
            if self._seen.get(id(schema), None) in (True, in_one_of):
                continue
            if id(schema) not in self._seen:
                self._check(schema, path)
            self._seen[id(schema)] = in_one_of
            stack.extend(self._inner(schema, path, in_one_of))
        for key, schema in self._untyped.items():
            if not self._seen[key]:
                _infer_type(schema)
        return self._root

    def _inner(self, schema: dict[str, Any], path: str, in_one_of: bool) -> Iterator[tuple[Any, str, bool]]:
        for keyword, value in schema.items():
            kind, place = ENFORCED[keyword], f"{path}/{keyword}"
            is_below = in_one_of or keyword == "oneOf"
            if kind == "schema":
                yield value, place, is_below
            elif kind == "schemas":
                yield from ((inner, f"{place}/{i}", is_below) for i, inner in enumerate(value))
            elif kind == "named schemas":
                yield from ((inner, f"{place}/{name}", is_below) for name, inner in value.items())
            elif keyword == "$ref":
                yield self._target(value, place), value, is_below

    def _check(self, schema: dict[str, Any], path: str) -> None:
        _modernise(schema)
        self._refuse(schema, path)
        for keyword in [keyword for keyword in schema if keyword not in ENFORCED]:
            del schema[keyword]
        for keyword, value in schema.items():
            if not is_right(ENFORCED[keyword], value):
                raise self._error(f"'{keyword}' at {path} has a value that JSON Schema doesn't allow ({_kind(value)})")
            if ENFORCED[keyword] == "count":
                schema[keyword] = int(value)
        self._check_counts(schema, path)
        self._check_numbers(schema, path)
        self._check_strings(schema, path)
        for value in (*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())):
            self._check_value(value, path)
        if "type" not in schema:
            self._untyped[id(schema)] = schema

    def _refuse(self, schema: dict[str, Any], path: str) -> None:
        if schema.get("not") in ({}, True) and "not" in schema:
            raise self._error(f"'not' at {path} forbids every value")
        for keyword in REFUSED.keys() & schema.keys():
            if not any(schema[keyword] is value or schema[keyword] == value == {} for value in REFUSED[keyword]):
                raise self._unsupported(keyword, path)
        if "$id" in schema and schema is not self._root:
            raise self._unsupported("$id", path, " below the root")

    def _check_counts(self, schema: dict[str, Any], path: str) -> None:
        # A list of up to n items is written out n times; without an upper end, only its lower end is.
        self._num_repeats += schema.get("maxItems", schema.get("minItems", 0))
        if self._num_repeats > MAX_REPEATS:
            raise self._error(f"minItems and maxItems up to {path} add up to more than {MAX_REPEATS}")
        for keyword in ("minLength", "maxLength"):
            if schema.get(keyword, 0) > MAX_LENGTH:
                raise self._error(f"'{keyword}' at {path} is larger than {MAX_LENGTH}")
        # Only the keys in `properties` are held to come once, so any others count as one at least.
        num_sure = len(set(schema.get("required", ())))
        if schema.get("minProperties", 0) > num_sure + 1:
            raise self._unsupported("minProperties", path, f" above {num_sure + 1}, one more than 'required' names,")
        for keyword in ("minProperties", "maxProperties"):
            self._num_repeats += schema.get(keyword, 0)

    def _check_numbers(self, schema: dict[str, Any], path: str) -> None:
        for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if keyword in schema:
                schema[keyword] = max(-MAX_EXACT, min(MAX_EXACT, schema[keyword]))
        if "multipleOf" in schema:
            step = schema["multipleOf"]
            digits = f"{abs(step):.15f}".replace(".", "").strip("0")
            if step <= 0 or len(digits) > MAX_MULTIPLE_DIGITS or abs(step) >= 10**MAX_MULTIPLE_DIGITS:
                raise self._unsupported("multipleOf", path, f" of more than {MAX_MULTIPLE_DIGITS} digits")

    def _check_strings(self, schema: dict[str, Any], path: str) -> None:
        if "pattern" in schema:
            schema["pattern"] = self._pattern(schema["pattern"], f"{path}/pattern")
        if "patternProperties" in schema:
            named = {
                self._pattern(key, f"{path}/patternProperties"): v for key, v in schema["patternProperties"].items()
            }
            schema["patternProperties"] = named
        types = schema.get("type", TYPES)
        if "format" not in schema:
            return
        name = schema["format"]
        if name in ANNOTATING_FORMATS or "string" not in ([types] if isinstance(types, str) else types):
            del schema["format"]
        elif name not in FORMATS:
            raise self._unsupported("format", path, f" {name!r}", f"supported are {', '.join(sorted(FORMATS))}")
        elif name in FORMAT_PATTERNS:
            del schema["format"]
            schema.setdefault("allOf", []).append({"pattern": FORMAT_PATTERNS[name]})

    def _pattern(self, pattern: str, place: str) -> str:
        try:
            return rust_pattern(pattern)
        except PatternError as error:
            raise self._error(f"the regular expression at {place} can't be enforced, because of its {error}") from error

    def _check_value(self, value: Any, path: str) -> None:
        """A value that the answer must hold exactly."""
        if isinstance(value, dict):
            for inner in value.values():
                self._check_value(inner, path)
        elif isinstance(value, list):
            for inner in value:
                self._check_value(inner, path)
        elif isinstance(value, str):
            if any(
                (char < " " and char not in _ESCAPABLE) or char == "\x7f" or "\ud800" <= char < "\ue000"
                for char in value
            ):
                raise self._error(f"a value at {path} holds a control character, which an answer can't")
        elif isinstance(value, (int, float)) and abs(value) > MAX_EXACT:
            raise self._error(f"a number at {path} is beyond 2^53, more than JSON readers hold exactly")

    def _target(self, reference: str, place: str) -> Any:
        uri, _, fragment = reference.partition("#")
        if uri and uri != self._base:
            raise self._error(f"{place} refers to another document; put it into '$defs'")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            return self._anchored(fragment, place)
        target: Any = self._root
        for step in fragment.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(step)] if isinstance(target, list) else target[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise self._error(f"{place} refers to {reference!r}, which isn't there") from None
        return target

    def _anchored(self, name: str, place: str) -> Any:
        if self._anchors is None:
            self._anchors = {}
            stack: list[Any] = [self._root]
            while stack:
                value = stack.pop()
                if isinstance(value, dict):
                    if isinstance(value.get("$anchor"), str):
                        self._anchors[value["$anchor"]] = value
                    stack.extend(value.values())
                elif isinstance(value, list):
                    stack.extend(value)
        if name not in self._anchors:
            raise self._error(f"{place} refers to '#{name}', which isn't there")
        return self._anchors[name]

    def _unsupported(self, keyword: str, path: str, what: str = "", instead: str = "") -> InvalidRequestError:
        return self._error(f"'{keyword}'{what} at {path} can't be enforced; {instead or 'leave it out'}")

    def _error(self, text: str) -> InvalidRequestError:
        return InvalidRequestError(f"{self._param}: {text}.", param=self._param)


def _modernise(schema: dict[str, Any]) -> None:
    """Older drafts' ways of saying the same."""
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
    for inclusive, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and inclusive in schema:
            schema[exclusive] = schema.pop(inclusive)


def _infer_type(schema: dict[str, Any]) -> None:
    """Keywords about one type, and no type: that type is meant. (As it stands, values of other types are allowed.)"""
    types = {SPEAKS_OF[keyword] for keyword in schema if keyword in SPEAKS_OF}
    if len(types) == 1 and not schema.keys() & {"const", "enum"}:
        schema["type"] = types.pop()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
