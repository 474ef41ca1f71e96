"""What a whole answer is held to, whatever said so: a schema, a regular expression, choices, a grammar, tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inglenook.lark import Lark


@dataclass(frozen=True)
class Body:
    """`grammars` are whole grammars of their own, which the expression names as @name.

    `alone` is what stands for all of it where nothing else is in the answer.
    """

    lark: Lark
    grammars: Mapping[str, str] = field(default_factory=dict)
    alone: str | None = None
