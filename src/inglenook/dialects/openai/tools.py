"""Tools of an OpenAI request, in today's form and the older one (`functions`), -> ToolUse."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inglenook.dialects.json_fields import Fields, check_depth, expected
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Tool, ToolUse

MAX_TOOLS = 1024

# Wider than OpenAI's (no dots, slashes or colons there), but nothing that a format could take for its own marks.
_NAME = re.compile(r"[\w.:/-]{1,128}")
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True)
class CallForm:
    """How calls stand in the answer: as a list, or as the one `function_call` of the older form."""

    is_legacy: bool = False
    finish_reason: Literal["tool_calls", "function_call", "stop"] = "tool_calls"


def parse_tool_use(fields: Fields) -> tuple[ToolUse, CallForm]:
    """Raises InvalidRequestError, naming the field, for tools that nobody could call and choices among none."""
    is_parallel = fields.boolean("parallel_tool_calls", True)
    choice, legacy_choice = fields.get("tool_choice"), fields.get("function_call")
    if fields.get("functions") or legacy_choice is not None:
        if fields.get("tools") or choice is not None:
            name = "functions" if fields.get("functions") else "function_call"
            raise InvalidRequestError(f"{name} is the older form of tools; send one of the two.", param=name)
        return _legacy(fields, legacy_choice)
    tools = parse_tools(fields)
    named = named_choice(choice)
    if named is not None:
        check_known("tool_choice", [named], tools)
        # As OpenAI and vLLM have it: one call; who names the function knows that it is called.
        return ToolUse(tools, "required", frozenset((named,)), is_parallel=False), CallForm(finish_reason="stop")
    mode, allowed = allowed_choice(choice)
    if allowed is not None:
        check_known("tool_choice", sorted(allowed), tools)
    if mode == "required" and not tools:
        raise InvalidRequestError("tool_choice asks for a call, but there are no tools.", param="tool_choice")
    return ToolUse(tools, mode, allowed, is_parallel), CallForm()


def _legacy(fields: Fields, choice: Any) -> tuple[ToolUse, CallForm]:
    given = tool_list(fields, "functions", "functions")
    tools = tuple(_function(f"functions[{index}]", value, value) for index, value in enumerate(given))
    check_distinct("functions", tools)
    form = CallForm(is_legacy=True, finish_reason="function_call")
    if choice is None or choice in ("auto", "none"):
        return ToolUse(tools, choice or "auto", is_parallel=False), form
    if not isinstance(choice, dict):
        raise _bad_choice("function_call", choice, '"auto", "none" or {"name": ...}')
    name = Fields(choice, "function_call.").required_string("name")
    check_known("function_call", [name], tools)
    return ToolUse(tools, "required", frozenset((name,)), is_parallel=False), CallForm(True, "stop")


# --- tools ----------------------------------------------------------------------------------------


def parse_tools(fields: Fields) -> tuple[Tool, ...]:
    """The list `tools` of functions."""
    tools = tuple(_tool(f"tools[{index}]", value) for index, value in enumerate(tool_list(fields, "tools", "tools")))
    check_distinct("tools", tools)
    return tools


def _tool(where: str, value: Any) -> Tool:
    if not isinstance(value, dict):
        raise expected(where, "an object with type and function", value)
    tool = Fields(value, f"{where}.")
    kind = tool.string("type", "function")
    if kind != "function":
        raise UnsupportedParameterError(
            f"{where}.type is {kind[:40]!r}; this server calls tools of the type function.", param=f"{where}.type"
        )
    function = tool.get("function")
    if function is None:
        raise InvalidRequestError(f"{where}.function is missing.", param=f"{where}.function")
    return _function(f"{where}.function", function, value)


def _function(where: str, value: Any, definition: Any) -> Tool:
    """`definition` is the tool as it was sent, with or without what wraps a function today."""
    if not isinstance(value, dict):
        raise expected(where, "an object with a name", value)
    check_depth(where, value)
    fields = Fields(value, f"{where}.")
    name = fields.required_string("name")
    check_tool_name(where, name)
    wrapped = dict(definition) if definition is not value else {"function": value}
    return Tool(
        name,
        {"type": "function", **wrapped},
        fields.string("description", ""),
        tool_parameters(f"{where}.parameters", fields.get("parameters")),
        fields.boolean("strict", False),
        f"{where}.parameters",
    )


def check_tool_name(where: str, name: str) -> None:
    """Raises InvalidRequestError where a tool that a message calls `where` can't have this name."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{where}.name is {name[:40]!r}; it must be 1 to 128 letters, digits, _, -, ., : or /.",
            param=f"{where}.name",
        )


def tool_parameters(where: str, value: Any) -> Mapping[str, Any]:
    """The schema of a tool's arguments: always one of an object."""
    if value is None or value == {}:
        return _NO_ARGUMENTS
    if not isinstance(value, dict):
        raise expected(where, "a JSON Schema of an object", value)
    kind = value.get("type", "object")
    if kind != "object":
        shown = repr(kind)[:40]
        raise InvalidRequestError(f"{where}.type is {shown}; arguments are an object.", param=f"{where}.type")
    return {"type": "object", **value}


def check_distinct(where: str, tools: Sequence[Tool]) -> None:
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in seen:
            raise InvalidRequestError(f"{where}[{index}]: there is another one named {tool.name!r}.", param=where)
        seen.add(tool.name)


# --- choices --------------------------------------------------------------------------------------


def named_choice(choice: Any) -> str | None:
    """The function that `tool_choice` names, if it names one."""
    if not (isinstance(choice, dict) and choice.get("type") == "function"):
        return None
    return _function_name("tool_choice", choice)


def allowed_choice(choice: Any) -> tuple[Literal["auto", "none", "required"], frozenset[str] | None]:
    """Any other `tool_choice`: the mode, and the names that it allows."""
    if choice is None:
        return "auto", None
    if isinstance(choice, str) and choice in ("auto", "none", "required"):
        return choice, None  # type: ignore[return-value]
    if not (isinstance(choice, dict) and choice.get("type") == "allowed_tools"):
        raise _bad_choice(
            "tool_choice",
            choice,
            '"auto", "none", "required", {"type": "function", ...} or {"type": "allowed_tools", ...}',
        )
    nested = choice.get("allowed_tools")
    where, values = ("tool_choice.allowed_tools.", nested) if isinstance(nested, dict) else ("tool_choice.", choice)
    allowed = Fields(values, where)
    mode = allowed.string("mode", "auto")
    if mode not in ("auto", "required"):
        raise _bad_choice(allowed.name("mode"), mode, '"auto" or "required"')
    given = tool_list(allowed, "tools", f"{where}tools")
    if not given:
        raise InvalidRequestError(f"{where}tools is empty; name at least one tool.", param=f"{where}tools")
    names = frozenset(_function_name(f"{where}tools[{index}]", item) for index, item in enumerate(given))
    return mode, names  # type: ignore[return-value]


def _function_name(where: str, value: Any) -> str:
    """{"type": "function", "function": {"name": ...}}; the responses' form, with the name beside the type, too."""
    if not isinstance(value, dict):
        raise expected(where, "an object that names a function", value)
    fields = Fields(value, f"{where}.")
    if fields.get("name") is not None:
        return fields.required_string("name")
    return Fields(fields.object("function"), f"{where}.function.").required_string("name")


def check_known(where: str, names: Sequence[str], tools: Sequence[Tool]) -> None:
    there = [tool.name for tool in tools]
    for name in names:
        if name not in there:
            shown = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
            raise InvalidRequestError(
                f"{where} names {name[:60]!r}, which is not among the tools ({shown or 'there are none'}).", param=where
            )


def _bad_choice(where: str, value: Any, allowed: str) -> InvalidRequestError:
    shown = f"{value[:40]!r}" if isinstance(value, str) else "something else"
    return InvalidRequestError(f"{where} is {shown}; it must be {allowed}.", param=where)


# --- reading --------------------------------------------------------------------------------------


def tool_list(fields: Fields, key: str, where: str) -> list[Any]:
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise expected(where, "a list", value)
    if len(value) > MAX_TOOLS:
        raise InvalidRequestError(f"{where} has {len(value)} entries; at most {MAX_TOOLS} are allowed.", param=where)
    return value
