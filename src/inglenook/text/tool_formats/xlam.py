"""Salesforce's xLAM: the answer is a list of calls."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="xlam",
    frames=(Frame("", is_list=True), Frame("```json", begin="\n", end="\n```", is_list=True)),
    marks=("xLAM", '"tool_call_name"'),
)
