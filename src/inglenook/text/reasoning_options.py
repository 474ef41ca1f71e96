"""What a chat template has to be given so that the model thinks as a request wants it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from inglenook.types import ReasoningOptions

_BLOCK = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
_QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])[a-z_]\w*")  # no attribute

_SWITCHES = ("enable_thinking", "thinking", "reasoning")
_MODES = ("thinking_mode",)  # "enabled" or "disabled"
_LEVELS = ("reasoning_effort", "thinking_effort")
_BUDGETS = ("thinking_budget",)

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
_USUAL_EFFORTS = ("low", "medium", "high")
_OFF = "none"


def template_kwargs(options: ReasoningOptions, template_source: str) -> dict[str, Any]:
    """The variables that this template reads; none for what the request leaves open or the template can't express.

    A level that the template doesn't know becomes the nearest one. Where the template has levels and no switch, off is
    its "none", or else its lowest level.
    """
    is_enabled = options.is_enabled
    effort = None if options.effort == _OFF else options.effort
    if is_enabled is None and options.effort is not None:
        is_enabled = effort is not None
    variables, literals = _reads(template_source)
    kwargs: dict[str, Any] = {}
    if is_enabled is not None:
        kwargs |= {name: is_enabled for name in _SWITCHES if name in variables}
        kwargs |= {name: "enabled" if is_enabled else "disabled" for name in _MODES if name in variables}
    if options.max_tokens is not None or is_enabled is False:
        kwargs |= {
            name: (options.max_tokens or 0) * (is_enabled is not False) for name in _BUDGETS if name in variables
        }
    has_switch = bool(kwargs)
    known = tuple(level for level in _EFFORTS if level in literals)
    if len(known) < 2 and _OFF not in literals:  # a default alone
        known = _USUAL_EFFORTS
    level = None
    if is_enabled is not False and effort is not None:
        level = _nearest(effort, known)
    elif is_enabled is False and (_OFF in literals or not has_switch):
        level = _OFF if _OFF in literals else known[0]
    elif is_enabled and known and _OFF in literals and not has_switch:  # which may be its default
        level = known[-1]
    if level is not None:
        kwargs |= {name: level for name in _LEVELS if name in variables}
    return kwargs


def _nearest(effort: str, known: tuple[str, ...]) -> str:
    """A level of other names is the template's affair."""
    if effort in known or effort not in _EFFORTS or not known:
        return effort
    rank = _EFFORTS.index(effort)
    return min(known, key=lambda level: (abs(_EFFORTS.index(level) - rank), _EFFORTS.index(level)))


@lru_cache(maxsize=64)
def _reads(template_source: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a template's code has, and its literals."""
    names: set[str] = set()
    literals: set[str] = set()
    for block in _BLOCK.findall(template_source):
        literals.update(single or double for single, double in _QUOTED.findall(block))
        names.update(_NAME.findall(_QUOTED.sub('""', block)))
    return frozenset(names), frozenset(literals)
