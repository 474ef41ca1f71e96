"""JSON Schemas of request bodies, taken from the parsers themselves: what they read, and as what.

So the OpenAPI document can't promise a field that nobody reads, nor forget one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.errors import InvalidRequestError

Schema = Mapping[str, Any]

STRINGS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
TOKEN_IDS: Schema = {"anyOf": [{"type": "array", "items": {"type": "integer", "minimum": 0}}, {"type": "null"}]}


def nullable(*schemas: Schema) -> Schema:
    """One of these, or null."""
    return {"anyOf": [*schemas, {"type": "null"}]}


def object_of(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def kind_of(*kinds: str) -> Schema:
    return {"enum": list(kinds)}


def request_schema(
    read: Callable[[Fields], object], examples: Sequence[Mapping[str, Any]], known: Mapping[str, Schema]
) -> dict[str, Any]:
    """The schema of the bodies that `read` takes.

    `examples` are bodies that it accepts, one for each way through it. `known` has the schemas of values that it reads
    as they are. A field without which no example is accepted is required.
    """
    properties: dict[str, Any] = {}
    for example in examples:
        recorder = _Recorder(example)
        read(recorder)
        properties |= recorder.properties
        properties |= {other: properties[key] for other, key in recorder.other_names.items() if key in properties}
    unread = known.keys() - properties.keys()
    assert not unread, f"nobody reads {sorted(unread)}"
    properties |= {name: dict(known[name]) for name in properties if name in known}
    required = [name for name in properties if all(_needs(read, example, name) for example in examples)]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _needs(read: Callable[[Fields], object], example: Mapping[str, Any], name: str) -> bool:
    if name not in example:
        return False
    try:
        read(Fields({key: value for key, value in example.items() if key != name}))
    except InvalidRequestError:
        return True
    return False


class _Recorder(Fields):
    """Remembers the type that each field is read as. Every one may be null, which is the same as not given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.properties: dict[str, Any] = {}
        self.other_names: dict[str, str] = {}

    def also(self, key: str, other: str) -> None:
        if other not in self._instead:
            self.other_names[other] = key
        super().also(key, other)

    def get(self, key: str) -> Any:
        if key not in self._instead:
            self.properties.setdefault(key, {})
        return super().get(key)

    def integer(self, key: str, default: Any) -> Any:
        self._note(key, {"type": ["integer", "null"]}, default)
        return super().integer(key, default)

    def number(self, key: str, default: Any) -> Any:
        self._note(key, {"type": ["number", "null"]}, default)
        return super().number(key, default)

    def boolean(self, key: str, default: Any) -> Any:
        self._note(key, {"type": ["boolean", "null"]}, default)
        return super().boolean(key, default)

    def string(self, key: str, default: Any) -> Any:
        self._note(key, {"type": ["string", "null"]}, default or None)
        return super().string(key, default)

    def choice(self, key: str, default: Any, allowed: Collection[str]) -> Any:
        self._note(key, {"enum": [*allowed, None]}, default)
        return super().choice(key, default, allowed)

    def object(self, key: str) -> dict[str, Any]:
        self._note(key, {"type": ["object", "null"]})
        return super().object(key)

    def strings(self, key: str) -> tuple[str, ...]:
        self._note(key, STRINGS)
        return super().strings(key)

    def token_ids(self, key: str) -> tuple[int, ...]:
        self._note(key, TOKEN_IDS)
        return super().token_ids(key)

    def _note(self, key: str, schema: Schema, default: Any = None) -> None:
        if not self.properties.get(key) and key not in self._instead:
            self.properties[key] = {**schema, "default": default} if default is not None else dict(schema)
