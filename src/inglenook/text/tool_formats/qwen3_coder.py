"""Qwen3-Coder, Nemotron 3, Step 3.5 and others; Seed-OSS has the same with other marks."""

from __future__ import annotations

from inglenook.text.tool_formats.xml_format import XmlFormat
from inglenook.text.tool_formats.xml_reader import XmlMarks

FORMAT = XmlFormat(
    name="qwen3_coder",
    mark="<tool_call>",
    mark_end="</tool_call>",
    xml=XmlMarks("\n<function=", ">\n", "<parameter=", ">\n", "\n</parameter>\n", "</function>\n"),
    shown_by=("<tool_call>", "<function=", "<parameter="),
    special_tokens=frozenset(("<tool_call>", "</tool_call>")),
    is_mark_optional=True,
)

SEED_OSS = XmlFormat(
    name="seed_oss",
    mark="<seed:tool_call>",
    mark_end="</seed:tool_call>",
    xml=XmlMarks("\n<function=", ">\n", "<parameter=", ">", "</parameter>\n", "</function>\n"),
    shown_by=("<seed:tool_call>",),
    special_tokens=frozenset(("<seed:tool_call>", "</seed:tool_call>")),
)
