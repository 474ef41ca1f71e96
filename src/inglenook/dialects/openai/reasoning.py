"""What a request says of the model's thinking, in the words of all dialects -> ReasoningOptions."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.json_fields import Fields, expected
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import ReasoningOptions

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# (apart from the content, in the answer at all): llama.cpp's names, then Groq's
_FORMATS = {
    "auto": (True, True),
    "deepseek": (True, True),
    "none": (False, True),
    "parsed": (True, True),
    "raw": (False, True),
    "hidden": (True, False),
}
_TEMPLATE_SWITCHES = ("enable_thinking", "thinking")


def parse_reasoning(fields: Fields, template_kwargs: dict[str, Any]) -> ReasoningOptions:
    """`template_kwargs` are the request's chat_template_kwargs, which may hold the switch."""
    effort = _effort(fields, "reasoning_effort")
    is_enabled = fields.boolean("enable_thinking", None)
    max_tokens = _budget(fields, "thinking_token_budget")
    is_included = fields.boolean("include_reasoning", True)
    is_separate = fields.boolean("separate_reasoning", True)

    nested = fields.inside("reasoning")  # of OpenAI's responses, and OpenRouter's
    effort = _effort(nested, "effort") or effort
    max_tokens = _first(_budget(nested, "max_tokens"), max_tokens)
    is_enabled = _first(nested.boolean("enabled", None), is_enabled)
    is_included = is_included and not nested.boolean("exclude", False)

    switch, budget = _thinking(fields)
    is_enabled, max_tokens = _first(switch, is_enabled), _first(budget, max_tokens)

    name = fields.string("reasoning_format", "auto")
    if name not in _FORMATS:
        raise UnsupportedParameterError(
            f"reasoning_format is {name[:40]!r}; it must be one of {', '.join(_FORMATS)}.", param="reasoning_format"
        )
    is_separate, is_included = is_separate and _FORMATS[name][0], is_included and _FORMATS[name][1]

    if effort is not None:
        is_enabled = effort != "none"
    for key in _TEMPLATE_SWITCHES:  # said to the template itself: that is what it will do
        if isinstance(template_kwargs.get(key), bool):
            is_enabled = template_kwargs[key]
    return ReasoningOptions(None if effort == "none" else effort, is_enabled, max_tokens, is_separate, is_included)


def _thinking(fields: Fields) -> tuple[bool | None, int | None]:
    """A switch, or Anthropic's {"type": "enabled", "budget_tokens": ...}, which gateways pass on."""
    value = fields.get("thinking")
    if value is None or isinstance(value, bool):
        return value, None
    if not isinstance(value, dict):
        raise expected("thinking", "a boolean or an object with a type", value)
    given = fields.inside("thinking")
    given.skip("display")  # Anthropic's: whether the answer shows it; here include_reasoning says so
    kind = given.string("type", "enabled")
    if kind not in ("enabled", "disabled", "adaptive"):
        raise InvalidRequestError(
            f"thinking.type is {kind[:40]!r}; it must be enabled, disabled or adaptive.", param="thinking.type"
        )
    return None if kind == "adaptive" else kind == "enabled", _budget(given, "budget_tokens")


def _effort(fields: Fields, key: str) -> str | None:
    effort = fields.string(key, None)
    if effort is not None and effort not in _EFFORTS:
        param = fields.name(key)
        raise InvalidRequestError(f"{param} is {effort[:40]!r}; it must be one of {', '.join(_EFFORTS)}.", param=param)
    return effort


def _budget(fields: Fields, key: str) -> int | None:
    """Tokens of thinking; -1 is no limit."""
    budget = fields.integer(key, -1)
    if budget < -1:
        raise InvalidRequestError(f"{fields.name(key)} is {budget}; it must be at least 0.", param=fields.name(key))
    return None if budget == -1 else budget


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value
