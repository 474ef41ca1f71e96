"""`$ref` inside of one schema: where it leads."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from inglenook.grammar.json_checks import SchemaError
from inglenook.grammar.json_keywords import ENFORCED


class References:
    """Nothing outside of the schema is ever read. Its own `$id` may be part of a reference, and is taken off."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        base = root.pop("$id", None)
        self._base = base.partition("#")[0] if isinstance(base, str) else ""
        self._anchors: dict[str, Any] | None = None
        self._known: dict[str, Any] = {}

    def target(self, reference: str, place: str) -> Any:
        if reference not in self._known:
            self._known[reference] = self._find(reference, place)
        return self._known[reference]

    def local(self, reference: str) -> str:
        """The same without the schema's own name."""
        return "#" + reference.partition("#")[2]

    def _find(self, reference: str, place: str) -> Any:
        uri, _, fragment = reference.partition("#")
        if uri and uri != self._base:
            raise SchemaError(f"{place} refers to another document; put it into '$defs'")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            return self._anchored(fragment, place)
        steps = [step.replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:]]
        target: Any = self._root
        expects = "schema"
        for step in steps:
            try:
                target = target[int(step)] if isinstance(target, list) else target[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaError(f"{place} refers to {reference!r}, which isn't there") from None
            # From a schema to what a keyword holds; from there to a schema. Unknown keywords hold whatever they hold.
            if expects == "schema":
                expects = ENFORCED.get(step, "anything")
            elif expects != "anything":
                expects = "schema"
        if expects not in ("schema", "anything") or not isinstance(target, (dict, bool)):
            raise SchemaError(f"{place} refers to {reference!r}, which isn't a schema")
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
            raise SchemaError(f"{place} refers to '#{name}', which isn't there")
        return self._anchors[name]
