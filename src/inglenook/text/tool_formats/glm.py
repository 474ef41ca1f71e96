"""GLM-4.5 and 4.6, with line ends; GLM-4.7 and 5, without."""

from __future__ import annotations

from inglenook.text.tool_formats.xml_format import XmlFormat
from inglenook.text.tool_formats.xml_reader import XmlMarks

_TOKENS = frozenset(("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"))

GLM45 = XmlFormat(
    name="glm45",
    mark="<tool_call>",
    mark_end="",
    xml=XmlMarks("", "\n", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n", "</tool_call>"),
    shown_by=("<arg_key>", "<tool_call>"),
    special_tokens=_TOKENS,
)

GLM47 = XmlFormat(
    name="glm47",
    mark="<tool_call>",
    mark_end="",
    xml=XmlMarks("", "", "<arg_key>", "</arg_key><arg_value>", "</arg_value>", "</tool_call>"),
    shown_by=("</arg_key><arg_value>", "<tool_call>"),
    special_tokens=_TOKENS,
)
