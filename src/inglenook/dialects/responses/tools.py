"""Tools of a Response: functions, whose fields stand beside their type here, and custom tools, which take plain text.

For the model a custom tool is a function of one string.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.dialects.openai.tools import (
    allowed_choice,
    check_distinct,
    check_known,
    check_tool_name,
    named_choice,
    tool_list,
    tool_parameters,
)
from inglenook.dialects.responses import wire
from inglenook.dialects.responses.messages import INPUT_KEY
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Tool, ToolUse

_CHOICES = ("function", "custom", "allowed_tools")


@dataclass(frozen=True)
class ResponseTools:
    """`custom` names the tools that take plain text. `definitions` and `choice` are what the answer repeats."""

    use: ToolUse
    custom: frozenset[str]
    definitions: list[wire.FunctionTool | wire.CustomTool]
    choice: wire.ToolChoice


def parse_tools(fields: Fields) -> ResponseTools:
    """Raises InvalidRequestError, naming the field."""
    is_parallel = fields.boolean("parallel_tool_calls", True)
    given = tool_list(fields, "tools", "tools")
    read = [_tool(f"tools[{index}]", value) for index, value in enumerate(given)]
    tools = tuple(tool for tool, _ in read)
    definitions = [definition for _, definition in read]
    check_distinct("tools", tools)
    custom = frozenset(tool.name for tool in definitions if isinstance(tool, wire.CustomTool))
    use, choice = _tool_use(fields.get("tool_choice"), tools, custom, is_parallel)
    return ResponseTools(use, custom, definitions, choice)


def _tool_use(
    choice: Any, tools: tuple[Tool, ...], custom: frozenset[str], is_parallel: bool
) -> tuple[ToolUse, wire.ToolChoice]:
    """What it asks for, in whichever form, and the form of responses."""
    if isinstance(choice, dict) and choice.get("type") not in _CHOICES:
        kind = str(choice.get("type"))[:40]
        raise UnsupportedParameterError(
            f"tool_choice.type is {kind!r}; this server calls tools of the types function and custom.",
            param="tool_choice.type",
        )
    named = named_choice({**choice, "type": "function"} if _is_custom(choice) else choice)
    if named is not None:
        check_known("tool_choice", [named], tools)
        answered = wire.CustomChoice(named) if _is_custom(choice) else wire.FunctionChoice(named)
        return ToolUse(tools, "required", frozenset((named,)), is_parallel=False), answered
    mode, allowed = allowed_choice(choice)
    if allowed is not None:
        check_known("tool_choice", sorted(allowed), tools)
    if mode == "required" and not tools:
        raise InvalidRequestError("tool_choice asks for a call, but there are no tools.", param="tool_choice")
    use = ToolUse(tools, mode, allowed, is_parallel)
    if allowed is None:
        return use, mode
    assert mode != "none"
    kinds = {name: "custom" if name in custom else "function" for name in sorted(allowed)}
    return use, wire.AllowedChoice(mode, [{"type": kind, "name": name} for name, kind in kinds.items()])


def _is_custom(choice: Any) -> bool:
    return isinstance(choice, dict) and choice.get("type") == "custom"


def _tool(where: str, value: Any) -> tuple[Tool, wire.FunctionTool | wire.CustomTool]:
    if not isinstance(value, dict):
        raise expected(where, "an object with type and name", value)
    check_depth(where, value)
    fields = Fields(value, f"{where}.")
    kind = fields.string("type", "function")
    if kind not in ("function", "custom"):
        raise UnsupportedParameterError(
            f"{where}.type is {kind[:40]!r}; this server runs no tools itself, and calls those of the types function "
            "and custom.",
            param=f"{where}.type",
        )
    if kind == "function" and isinstance(value.get("function"), dict):  # as chats have it
        fields = Fields(value["function"], f"{where}.function.")
    name = fields.required_string("name")
    check_tool_name(where, name)
    description = fields.string("description", "")
    if kind == "custom":
        parameters, text_format = _text_format(where, fields)
        shown = {"name": name, "description": description, "parameters": parameters}
        param = f"{where}.format.definition"
        custom = wire.CustomTool(name=name, description=description or UNSET, format=text_format)
        return Tool(name, _shown(shown), description, parameters, param=param), custom
    strict = fields.boolean("strict", None)
    given = fields.get("parameters")
    parameters = tool_parameters(fields.name("parameters"), given)
    definition = wire.FunctionTool(name=name, description=description or UNSET, parameters=given, strict=strict)
    shown = {
        key: fields.get(key) for key in ("name", "description", "parameters", "strict") if fields.get(key) is not None
    }
    param = fields.name("parameters")
    return Tool(name, _shown(shown), description, parameters, bool(strict), param), definition


def _shown(function: dict[str, Any]) -> Mapping[str, Any]:
    """As templates get a tool."""
    return {"type": "function", "function": function}


def _text_format(where: str, fields: Fields) -> tuple[Mapping[str, Any], wire.TextInput | wire.GrammarInput]:
    """The parameters that a custom tool has for the model, and the format of its text."""
    given = Fields(fields.object("format"), f"{where}.format.")
    kind = given.choice("type", "text", ("text", "grammar"))
    text: dict[str, Any] = {"type": "string"}
    text_format: wire.TextInput | wire.GrammarInput = wire.TextInput()
    if kind == "grammar":
        syntax = given.choice("syntax", "", ("lark", "regex"))
        if syntax != "regex":
            raise UnsupportedParameterError(
                f"{where}.format: custom tools take text, or the grammar syntax regex; lark isn't supported for them.",
                param=f"{where}.format.syntax",
            )
        definition = given.required_string("definition")
        text["pattern"] = f"^(?:{definition})$"
        text_format = wire.GrammarInput(definition)
    parameters = {
        "type": "object",
        "properties": {INPUT_KEY: text},
        "required": [INPUT_KEY],
        "additionalProperties": False,
    }
    return parameters, text_format
