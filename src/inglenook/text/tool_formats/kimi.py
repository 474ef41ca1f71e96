"""Kimi K2: a call's id has its name in it, functions.NAME:NUMBER; templates want that id back."""

from __future__ import annotations

from inglenook.text.tool_formats.section_format import SectionFormat

_SECTION, _SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_BEGIN, _ARGUMENTS, _END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"

FORMAT = SectionFormat(
    name="kimi_k2",
    section=_SECTION,
    begin=f"{_BEGIN}functions.",
    behind_name=_ARGUMENTS,
    end=_END,
    section_end=_SECTION_END,
    marks=(_SECTION, _ARGUMENTS),
    special_tokens=frozenset((_SECTION, _SECTION_END, _BEGIN, _ARGUMENTS, _END)),
    number=":[0-9]{1,6}",
    id_head="functions.",
)
