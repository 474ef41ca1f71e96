"""What of a schema would keep an answer from ending, or a compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inglenook.grammar.json_checks import SchemaError
from inglenook.grammar.json_keywords import TYPES
from inglenook.grammar.json_references import References

# That one value must obey: the time to compile them grows as their product.
MAX_AT_ONCE = {"pattern": 3, "format": 2, "multipleOf": 1}
_MAX_ROUNDS = 100


def check_endings(schemas: Sequence[tuple[dict[str, Any], str]], references: References) -> None:
    """`schemas` are all of one, each with its path, outer ones first. Raises SchemaError."""
    endings = _Endings(references)
    for _ in range(_MAX_ROUNDS):
        # Inner ones first: nearly always, one round finds all and a second one finds no more.
        if not endings.look([schema for schema, _ in reversed(schemas)]):
            break
    else:
        raise SchemaError("its references are too entangled")
    for schema, path in schemas:
        if not endings.has_end(schema):
            raise SchemaError(f"no value of {path} can ever end, because it must hold another one")
        for kind, limit in MAX_AT_ONCE.items():
            if endings.count(schema, kind) > limit:
                raise SchemaError(f"at {path}, one value has to obey more than {limit} '{kind}' at once")


class _Endings:
    """Which schemas are known to have values of finite length, and how many of MAX_AT_ONCE each puts on one value."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._ends: set[int] = set()
        self._counts: dict[tuple[int, str], int] = {}

    def has_end(self, schema: Any) -> bool:
        return isinstance(schema, bool) or id(schema) in self._ends

    def count(self, schema: Any, kind: str) -> int:
        return self._counts.get((id(schema), kind), 0)

    def look(self, schemas: Sequence[dict[str, Any]]) -> bool:
        """Whether anything new was found."""
        is_new = False
        for schema in schemas:
            if id(schema) not in self._ends and self._finds_end(schema):
                self._ends.add(id(schema))
                is_new = True
            for kind, limit in MAX_AT_ONCE.items():
                count = min(self._count(schema, kind), limit + 1)
                if count > self.count(schema, kind):
                    self._counts[id(schema), kind] = count
                    is_new = True
        return is_new

    def _finds_end(self, schema: dict[str, Any]) -> bool:
        if "const" in schema or "enum" in schema:
            return True
        parts = list(schema.get("allOf", ()))
        if "$ref" in schema:
            parts.append(self._references.target(schema["$ref"], ""))
        choices = [schema[keyword] for keyword in ("anyOf", "oneOf") if schema.get(keyword)]
        return (
            all(map(self.has_end, parts))
            and all(any(map(self.has_end, options)) for options in choices)
            and self._has_plain_end(schema)
        )

    def _has_plain_end(self, schema: dict[str, Any]) -> bool:
        """By what it says itself of objects and lists."""
        types = schema.get("type", TYPES)
        types = {types} if isinstance(types, str) else set(types)
        if types - {"object", "array"}:
            return True
        if "object" in types:
            named, others = schema.get("properties", {}), schema.get("additionalProperties", True)
            if all(self.has_end(named.get(name, others)) for name in schema.get("required", ())):
                return True
        if "array" in types:
            first, count = schema.get("prefixItems", []), schema.get("minItems", 0)
            if all(map(self.has_end, first[:count])) and (
                count <= len(first) or self.has_end(schema.get("items", True))
            ):
                return True
        return False

    def _count(self, schema: dict[str, Any], kind: str) -> int:
        parts = list(schema.get("allOf", ()))
        if "$ref" in schema:
            parts.append(self._references.target(schema["$ref"], ""))
        choices = [schema[keyword] for keyword in ("anyOf", "oneOf") if schema.get(keyword)]
        in_all = sum(self.count(part, kind) for part in parts)
        return (kind in schema) + in_all + sum(max(self.count(one, kind) for one in options) for options in choices)
