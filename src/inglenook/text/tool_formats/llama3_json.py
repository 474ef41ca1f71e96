"""Llama 3.1 to 3.3 and 4 with JSON: the answer is the call, with or without <|python_tag|>."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="llama3_json",
    frames=(Frame("", separator="; "), Frame("<|python_tag|>", separator="; ")),
    marks=("<|python_tag|>", "Environment: ipython"),
    special_tokens=frozenset(("<|python_tag|>",)),
    arguments_key="parameters",
)
