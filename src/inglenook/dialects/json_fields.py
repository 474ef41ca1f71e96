"""Reading a JSON request body: every complaint is a 400 that names the parameter and what was expected."""

from __future__ import annotations

import codecs
import copy
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from inglenook.errors import InvalidRequestError

MAX_DEPTH = 64  # of values that are passed on as they are, to templates that walk them recursively
_EXPLAINED_BODY_BYTES = 1 << 20  # larger broken bodies get the short message: a second parse would cost too long
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_T = TypeVar("_T")


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a request body, whatever its content type says (RFC 8259; a byte order mark is skipped).

    Raises InvalidRequestError where it isn't a JSON object, saying where it breaks off.
    """
    try:
        value = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except RecursionError:
        raise InvalidRequestError("The request body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
        raise InvalidRequestError(
            f"The request body isn't valid JSON: {_explain(body, error)}.", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"The request body must be a JSON object, not {json_type(value)}.", code="invalid_json"
        )
    return value


def _explain(body: bytes, error: ValueError) -> str:
    if not body.strip():
        return "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return "a string isn't valid UTF-8"
    if len(body) > _EXPLAINED_BODY_BYTES or "out of range" in str(error):
        return _lower_first(str(error))
    try:
        json.loads(body, parse_constant=_refuse_constant)
    except json.JSONDecodeError as located:
        return f"{_lower_first(located.msg)} at line {located.lineno}, column {located.colno}"
    except (ValueError, RecursionError) as other:
        return _lower_first(str(other))
    # Python's own decoder takes what RFC 8259 leaves open: half of a surrogate pair, which is no character.
    return "a \\u escape is half of a surrogate pair" if _LONE_SURROGATE.search(body) else _lower_first(str(error))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no JSON number")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def json_type(value: Any) -> str:
    """What a value is called in messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def expected(name: str, what: str, value: Any) -> InvalidRequestError:
    """The error for a value of the wrong type."""
    return InvalidRequestError(f"{name}: expected {what}, got {json_type(value)}.", param=name)


def as_integer(name: str, value: Any) -> int:
    """`value` as an integer of 64 bits; 8.0 counts, as JSON doesn't tell it from 8."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        what = "an integer, got a fraction" if isinstance(value, float) else None
        raise (
            InvalidRequestError(f"{name}: expected {what}.", param=name)
            if what
            else expected(name, "an integer", value)
        )
    if not -(2**63) <= value < 2**63:
        raise InvalidRequestError(f"{name}: the integer doesn't fit 64 bits.", param=name)
    return value


def as_token_id(name: str, value: Any) -> int:
    token_id = as_integer(name, value)
    if not 0 <= token_id < 2**31:
        raise InvalidRequestError(f"{name}: {token_id} is not a token id; they start at 0.", param=name)
    return token_id


def check_depth(name: str, value: Any, depth: int = 0) -> None:
    """Refuse values nested deeper than MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise InvalidRequestError(f"{name}: nested deeper than {MAX_DEPTH} levels.", param=name)
    if isinstance(value, dict):
        for item in value.values():
            check_depth(name, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_depth(name, item, depth + 1)


class Fields:
    """Typed reads of one JSON object. An explicit null counts as not given, and gives the default.

    It remembers what was read, so that the rest can be refused or reported without a second list of names.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix
        self._read: set[str] = set()
        self._instead: Mapping[str, Any] = {}
        self._inside: dict[str, Fields] = {}

    def replacing(self, values: Mapping[str, Any]) -> Fields:
        """The same fields, as a parser of another dialect is to see them: it finds `values` under their keys.

        What it reads of the others counts as read here.
        """
        other = copy.copy(self)
        other._instead = values
        return other

    def skip(self, *keys: str) -> None:
        """These are known, and ask for nothing."""
        self._read.update(keys)

    def name(self, key: str) -> str:
        """The key as messages name it: with the object that it is in."""
        return f"{self._prefix}{key}"

    def get(self, key: str) -> Any:
        """The value as it is; None where it isn't given."""
        if key in self._instead:
            return self._instead[key]
        self._read.add(key)
        return self._values.get(key)

    def also(self, key: str, other: str) -> None:
        """A value under the name `other` counts as one under `key`. Both, and different: InvalidRequestError."""
        value, known = self.get(other), self._values.get(key)
        if value is None:
            return
        if known is not None and known != value:
            raise InvalidRequestError(
                f"{self.name(key)} and {self.name(other)} are two names of one field, but their values differ.",
                param=self.name(other),
            )
        self._values = {**self._values, key: value}

    def names(self) -> frozenset[str]:
        """Of the fields that are given."""
        return frozenset(key for key, value in self._values.items() if value is not None)

    def inside(self, key: str) -> Fields:
        """The fields of the object under `key`, the same each time: what nobody reads of them is unread here, too."""
        given = self.object(key)
        if key in self._instead:
            return Fields(given, f"{self.name(key)}.")
        return self._inside.setdefault(key, Fields(given, f"{self.name(key)}."))

    def unread(self) -> dict[str, Any]:
        """The names of what is in objects begin with theirs."""
        unread = {key: value for key, value in self._values.items() if key not in self._read}
        for key, fields in self._inside.items():
            unread |= {f"{key}.{name}": value for name, value in fields.unread().items()}
        return unread

    def integer(self, key: str, default: _T) -> int | _T:
        value = self.get(key)
        return default if value is None else as_integer(self.name(key), value)

    def number(self, key: str, default: _T) -> float | _T:
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise expected(self.name(key), "a number", value)
        return float(as_integer(self.name(key), value)) if isinstance(value, int) else value

    def boolean(self, key: str, default: _T) -> bool | _T:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise expected(self.name(key), "a boolean", value)
        return value

    def string(self, key: str, default: _T) -> str | _T:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise expected(self.name(key), "a string", value)
        return value

    def choice(self, key: str, default: _T, allowed: Collection[str]) -> str | _T:
        """One of the strings `allowed`."""
        value = self.string(key, None)
        if value is None:
            return default
        if value not in allowed:
            names = ", ".join(allowed)
            raise InvalidRequestError(
                f"{self.name(key)} is {value[:40]!r}; it must be one of {names}.", param=self.name(key)
            )
        return value

    def required_string(self, key: str) -> str:
        """A string that isn't empty."""
        value = self.string(key, "")
        if not value:
            raise InvalidRequestError(f"{self.name(key)} is missing.", param=self.name(key))
        return value

    def object(self, key: str) -> dict[str, Any]:
        """The object under `key`; empty where it isn't given."""
        value = self.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise expected(self.name(key), "an object", value)
        check_depth(self.name(key), value)
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        """A string or a list of strings; empty where it isn't given."""
        value = self.get(key)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list):
            raise expected(self.name(key), "a string or a list of strings", value)
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise expected(f"{self.name(key)}[{index}]", "a string", item)
        return tuple(value)

    def token_ids(self, key: str) -> tuple[int, ...]:
        """A list of token ids; empty where it isn't given."""
        value = self.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise expected(self.name(key), "a list of token ids", value)
        return tuple(as_token_id(f"{self.name(key)}[{index}]", item) for index, item in enumerate(value))
