"""Phi-4-mini, and FireFunction v2: a list behind the word functools, or between <|tool_call|> and <|/tool_call|>."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="phi4_mini_json",
    frames=(
        Frame("functools[", is_list=True),
        Frame("<|tool_call|>", end="<|/tool_call|>", is_list=True),
    ),
    marks=("functools[", "<|/tool_call|>", "<|/tool|>"),
    special_tokens=frozenset(("<|tool_call|>", "<|/tool_call|>")),
)
