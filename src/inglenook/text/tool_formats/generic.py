"""For models whose template knows nothing of tools: calls as Hermes has them, explained in the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from inglenook.text.tool_formats import hermes
from inglenook.text.tool_formats.schemas import too_deep
from inglenook.types import Tool, ToolUse

FORMAT = replace(hermes.FORMAT, name="generic", marks=())


def instructions(tools: Sequence[Tool], use: ToolUse) -> str:
    """What the system message has to say of these tools. "" where there are none, or none may be called."""
    if not tools or use.mode == "none":
        return ""
    lines = ["You can call these functions:", *map(_described, tools), ""]
    lines += [
        "To call a function, write exactly this, and then stop:",
        call_text([{"function": {"name": "FUNCTION_NAME", "arguments": {"ARGUMENT": "VALUE"}}}]),
        "The result comes in the next message, between <tool_response> and </tool_response>.",
    ]
    if use.mode == "required":
        names = [tool.name for tool in use.callable_tools]
        which = "one of the functions" if len(names) == len(tools) > 1 else " or ".join(names)
        lines.append(f"Now you must call {which}.")
    else:
        lines.append("Call a function only if it helps; otherwise answer as usual. Answer from the results you have.")
    if not use.is_parallel:
        lines.append("Make at most one call in an answer.")
    return "\n".join(lines)


def call_text(calls: Sequence[Mapping[str, Any]]) -> str:
    """An assistant message's `tool_calls`, as the model would have written them."""
    return "\n".join(f"<tool_call>\n{_call(**call['function'])}\n</tool_call>" for call in calls)


def result_text(content: str, name: str | None = None) -> str:
    """A call's result, as it stands in a user message."""
    head = f"<tool_response>\nresult of {name}:\n" if name else "<tool_response>\n"
    return f"{head}{content}\n</tool_response>"


def _described(tool: Tool) -> str:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    try:
        return json.dumps({**function, "parameters": dict(tool.parameters)}, ensure_ascii=False)
    except RecursionError:
        raise too_deep(tool) from None


def _call(name: str, arguments: Mapping[str, Any] | str | None = None, **_: Any) -> str:
    """Arguments that came as text stay as they are, so that a conversation goes on with the same tokens."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {written or "{}"}}}'
