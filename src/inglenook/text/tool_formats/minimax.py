"""MiniMax M2: calls of one answer in one block."""

from __future__ import annotations

from inglenook.text.tool_formats.xml_format import XmlFormat
from inglenook.text.tool_formats.xml_reader import XmlMarks

FORMAT = XmlFormat(
    name="minimax_m2",
    mark="<minimax:tool_call>",
    mark_end="</minimax:tool_call>",
    xml=XmlMarks('<invoke name="', '">\n', '<parameter name="', '">', "</parameter>\n", "</invoke>\n"),
    shown_by=("<minimax:tool_call>",),
    special_tokens=frozenset(("<minimax:tool_call>", "</minimax:tool_call>")),
    behind_mark="\n",
    has_many=True,
)
