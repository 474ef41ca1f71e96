"""Lists between tags: Jamba, Hunyuan, Nemotron."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="jamba",
    frames=(Frame("<tool_calls>", end="</tool_calls>", is_list=True),),
    marks=("<tool_calls>",),
    special_tokens=frozenset(("<tool_calls>", "</tool_calls>")),
)

NEMOTRON = JsonFormat(
    name="nemotron",
    frames=(Frame("<TOOLCALL>", end="</TOOLCALL>", is_list=True),),
    marks=("<TOOLCALL>",),
    special_tokens=frozenset(("<TOOLCALL>", "</TOOLCALL>")),
)
