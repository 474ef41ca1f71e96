"""Tools of an Anthropic request, and which of them may be called -> ToolUse."""

from __future__ import annotations

from typing import Any

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.dialects.openai.tools import MAX_TOOLS, check_distinct, check_known, check_tool_name, tool_parameters
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Tool, ToolUse

_CHOICES = ("auto", "any", "tool", "none")


def parse_tool_use(fields: Fields) -> ToolUse:
    """Raises InvalidRequestError, naming the field, for tools that nobody here could call and choices among none."""
    tools = _tools(fields)
    choice = fields.inside("tool_choice")
    kind = choice.string("type", "auto")
    if kind not in _CHOICES:
        raise InvalidRequestError(
            f"tool_choice.type is {kind[:40]!r}; it must be one of {', '.join(_CHOICES)}.", param="tool_choice.type"
        )
    is_parallel = not choice.boolean("disable_parallel_tool_use", False)
    name = choice.string("name", "")
    if kind == "tool":
        if not name:
            raise InvalidRequestError("tool_choice.name is missing.", param="tool_choice.name")
        check_known("tool_choice.name", [name], tools)
        # One call: who names the tool reads the first one, and a small model that has to call goes on calling.
        return ToolUse(tools, "required", frozenset((name,)), is_parallel=False)
    if kind == "any" and not tools:
        raise InvalidRequestError("tool_choice asks for a call, but there are no tools.", param="tool_choice")
    if kind == "none":
        return ToolUse(tools, "none")
    return ToolUse(tools, "required" if kind == "any" else "auto", is_parallel=is_parallel)


def _tools(fields: Fields) -> tuple[Tool, ...]:
    given = fields.get("tools")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise expected("tools", "a list", given)
    if len(given) > MAX_TOOLS:
        raise InvalidRequestError(f"tools has {len(given)} entries; at most {MAX_TOOLS} are allowed.", param="tools")
    tools = tuple(_tool(f"tools[{index}]", value) for index, value in enumerate(given))
    check_distinct("tools", tools)
    return tools


def _tool(where: str, value: Any) -> Tool:
    if not isinstance(value, dict):
        raise expected(where, "an object with name and input_schema", value)
    check_depth(where, value)
    tool = Fields(value, f"{where}.")
    kind = tool.string("type", "custom")
    if kind != "custom":
        raise UnsupportedParameterError(
            f"{where}: {kind[:40]!r} is a tool of Anthropic's own, which this server doesn't have; it calls tools of "
            "the type custom, with an input_schema.",
            param=f"{where}.type",
        )
    name = tool.string("name", "")
    check_tool_name(where, name)
    if tool.get("input_schema") is None:
        raise InvalidRequestError(f"{where}.input_schema is missing.", param=f"{where}.input_schema")
    parameters = tool_parameters(f"{where}.input_schema", tool.get("input_schema"))
    description = tool.string("description", "")
    is_strict = tool.boolean("strict", False)
    function: dict[str, Any] = {"name": name, "parameters": parameters}
    if description:
        function["description"] = description
    param = f"{where}.input_schema"
    return Tool(name, {"type": "function", "function": function}, description, parameters, is_strict, param)
