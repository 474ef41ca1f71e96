"""Keywords of the Python API that are request fields."""

from __future__ import annotations

from typing import Any

import pytest

from inglenook.dialects.python_api import option_names, sampling_values, take_options
from inglenook.errors import InvalidRequestError
from inglenook.types import Constraint, ReasoningOptions, RepetitionDetection, ToolUse


def test_takes_what_it_knows() -> None:
    params: dict[str, Any] = {
        "max_tokens": 5,
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "required",
        "reasoning_effort": "low",
        "chat_template_kwargs": {"x": 1},
        "documents": [{"text": "t"}],
        "repair": True,
    }
    options = take_options(params, is_chat=True)
    assert params == {"max_tokens": 5}
    assert options["constraint"] == Constraint("json_object", None, "response_format")
    assert options["tool_use"].mode == "required"
    assert options["reasoning"] == ReasoningOptions("low", True)
    assert options["chat_template_kwargs"] == {"x": 1}
    assert options["documents"] == ({"text": "t"},)
    assert options["is_repaired"] is True


def test_nothing_given() -> None:
    options = take_options({}, is_chat=True)
    assert (options["constraint"], options["tool_use"], options["is_repaired"]) == (None, ToolUse(), None)
    options = take_options({}, is_chat=False)
    assert options.pop("truncation_side") == "left"
    assert options.pop("add_special_tokens") is True
    assert not any(options.values())


def test_tools_are_for_chat() -> None:
    params: dict[str, Any] = {"tools": []}
    take_options(params, is_chat=False)
    assert params == {"tools": []}
    assert "tools" not in option_names(is_chat=False)


def test_complaints_name_the_keyword() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        take_options({"tools": [{}]}, is_chat=True)
    assert caught.value.param == "tools[0].function"


def test_sampling_values_come_as_lists_and_dictionaries() -> None:
    loop = {"max_pattern_size": 5, "min_count": 3}
    values = sampling_values({"stop": "x", "bad_words": ["a"], "allowed_token_ids": [1], "repetition_detection": loop})
    assert values["stop"] == ("x",)
    assert (values["bad_words"], values["allowed_token_ids"]) == (("a",), (1,))
    assert values["repetition_detection"] == RepetitionDetection(5, 0, 3)
    assert sampling_values(values) == values
    with pytest.raises(InvalidRequestError) as caught:
        sampling_values({"repetition_detection": {"size": 5}})
    assert caught.value.param == "repetition_detection"
