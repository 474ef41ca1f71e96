"""Hermes 2 and 3, Qwen 2.5 and 3, and many others: <tool_call> around a JSON object."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="hermes",
    frames=(Frame("<tool_call>", begin="\n", end="\n</tool_call>"),),
    marks=("<tool_call>",),
    special_tokens=frozenset(("<tool_call>", "</tool_call>")),
)
