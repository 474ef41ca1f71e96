"""What is said in a chat, and what its answer must be like: messages, tools, constraints, thinking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Message:
    """One turn of a conversation, already in the shape that chat templates take.

    `content` is text (parts joined by the dialect) or None, as with an assistant turn that only
    calls tools. `extra` holds what else the client sent and templates may read (`tool_calls`,
    `tool_call_id`, ...).
    """

    role: str
    content: str | None = None
    name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Constraint:
    """What an answer must look like.

    `value` is the JSON Schema (an object, or a boolean), nothing for a JSON object of any kind, the regular
    expression, the list of choices, the grammar's text (Lark or GBNF), or the structural tag's object. `param` names
    the request field that it came from, for messages.
    """

    kind: Literal["json_schema", "json_object", "regex", "choice", "grammar", "structural_tag"]
    value: Any
    param: str


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. `parameters` is the JSON Schema of the object of its arguments.

    `definition` is what templates get: {"type": "function", "function": {...}} with all that the client sent.
    `param` names the request field of its parameters, for messages; "": tools[i].function.parameters.
    """

    name: str
    definition: Mapping[str, Any]
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_strict: bool = False
    param: str = field(default="", compare=False)


@dataclass(frozen=True)
class ToolUse:
    """Which tools there are, and which may or must be called. A named choice is "required" with one name allowed."""

    tools: tuple[Tool, ...] = ()
    mode: Literal["auto", "none", "required"] = "auto"
    allowed: frozenset[str] | None = None  # names; None: all of `tools`
    is_parallel: bool = True  # several calls in one answer

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """Those that this answer may call."""
        if self.mode == "none":
            return ()
        return tuple(tool for tool in self.tools if self.allowed is None or tool.name in self.allowed)


@dataclass(frozen=True)
class ReasoningOptions:
    """What becomes of a model's thinking. None: as the model's template has it."""

    effort: str | None = None  # a level that the template knows ("low", "medium", "high", ...)
    is_enabled: bool | None = None
    max_tokens: int | None = None  # of thinking; then it is ended
    is_separate: bool = True  # apart from the content
    is_included: bool = True  # in the answer at all
