"""Granite 3 and the older 20B with functions. Granite 4 writes as Hermes does."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat


class _Granite3(JsonFormat):
    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return "<|start_of_role|>" in template and "</tool_call>" not in template


FORMAT = _Granite3(
    name="granite",
    frames=(Frame("<|tool_call|>", is_list=True), Frame("<tool_call>", is_list=True)),
    special_tokens=frozenset(("<|tool_call|>", "<tool_call>")),
)

GRANITE_20B_FC = JsonFormat(
    name="granite-20b-fc",
    frames=(Frame("<function_call>", begin=" "),),
    marks=("<|function_call_library|>", "<function_call> {"),
    special_tokens=frozenset(("<function_call>",)),
)
