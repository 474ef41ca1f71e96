"""Fields of a request that no parser has read: refused by name, without effect, or unknown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from inglenook.errors import UnsupportedParameterError


def sort_unread(
    unread: Mapping[str, Any],
    refused: Mapping[str, tuple[Any, ...]],
    without_effect: Collection[str],
    unsupported: Callable[[str], UnsupportedParameterError],
) -> tuple[str, ...]:
    """The names that nobody knows, of those that have a value.

    Raises what `unsupported` makes of a name in `refused` whose value asks for something: the values given there don't.
    """
    unknown = []
    for name, value in unread.items():
        if name in refused:
            if not asks_for_nothing(value, refused[name]):
                raise unsupported(name)
        elif name not in without_effect and value is not None:
            unknown.append(name)
    return tuple(unknown)


def asks_for_nothing(value: Any, neutral: tuple[Any, ...]) -> bool:
    if value is None or value is False or value in ("", [], {}):
        return True
    # true == 1 in Python, but not in JSON.
    return any(isinstance(value, bool) == isinstance(item, bool) and value == item for item in neutral)
