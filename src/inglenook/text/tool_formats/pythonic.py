"""Calls as Python: Llama 3.2 and ToolACE bare, Llama 4, LFM2 and OLMo 3 between marks."""

from __future__ import annotations

from inglenook.text.tool_formats.pythonic_format import PythonicFormat

FORMAT = PythonicFormat("pythonic", shown_by=("[func_name1(", "[func1(params_name1"))

LLAMA4 = PythonicFormat(
    "llama4_pythonic",
    shown_by=("<|python_start|>",),
    mark="<|python_start|>",
    end="]<|python_end|>",
    special_tokens=frozenset(("<|python_start|>", "<|python_end|>")),
    is_mark_optional=True,
)

LFM2 = PythonicFormat(
    "lfm2",
    shown_by=("<|tool_call_start|>",),
    mark="<|tool_call_start|>",
    end="]<|tool_call_end|>",
    special_tokens=frozenset(("<|tool_call_start|>", "<|tool_call_end|>")),
)

OLMO3 = PythonicFormat(
    "olmo3",
    shown_by=("<function_calls>",),
    mark="<function_calls>",
    begin="",
    separator="\n",
    end="</function_calls>",
)
