"""Cohere's Command: R and R+ write a fenced list, R7B and A one between special tokens."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="command_r",
    frames=(Frame("Action: ```json", begin="\n", end="\n```", is_list=True),),
    marks=("directly_answer", "directly-answer"),
    name_key="tool_name",
    arguments_key="parameters",
)

COHERE_COMMAND3 = JsonFormat(
    name="cohere_command3",
    frames=(Frame("<|START_ACTION|>", end="<|END_ACTION|>", is_list=True),),
    marks=("<|START_ACTION|>",),
    special_tokens=frozenset(("<|START_ACTION|>", "<|END_ACTION|>")),
    id_key="tool_call_id",
    name_key="tool_name",
    arguments_key="parameters",
)
