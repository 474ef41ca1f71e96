"""All tool-call formats by name, and which of them a model's chat template and vocabulary show."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inglenook.errors import ConfigError

if TYPE_CHECKING:
    from inglenook.text.output import ToolFormat


@dataclass(frozen=True)
class _Entry:
    name: str
    module: str  # in this package; imported when it is needed
    attribute: str = "FORMAT"
    aliases: tuple[str, ...] = ()


# The most distinctive first: the first that matches is the model's. GENERIC is for what no other knows.
_ENTRIES = (
    _Entry("mistral_call_id", "mistral", "CALL_ID"),
    _Entry("mistral_args", "mistral", "ARGS"),
    _Entry("mistral_list", "mistral", "LIST"),
    _Entry("mistral", "mistral"),
    _Entry("cohere_command3", "command_r", "COHERE_COMMAND3", ("command_r7b", "cohere_command4")),
    _Entry("internlm", "internlm"),
    _Entry("functionary_v3.2", "functionary", "V32", ("functionary",)),
    _Entry("functionary_v3.1", "functionary", "V31"),
    _Entry("phi4_mini_json", "phi4_mini_json", aliases=("firefunction_v2",)),
    _Entry("granite-20b-fc", "granite", "GRANITE_20B_FC"),
    _Entry("nemotron", "jamba", "NEMOTRON", ("nemotron_json",)),
    _Entry("jamba", "jamba", aliases=("hunyuan_a13b",)),
    _Entry("command_r", "command_r"),
    _Entry("xlam", "xlam"),
    _Entry("granite", "granite"),
    _Entry("hermes", "hermes", aliases=("qwen", "qwen25", "granite4")),
    _Entry("llama3_json", "llama3_json", aliases=("llama3", "llama4_json")),
    _Entry("generic", "generic"),
)
GENERIC = "generic"

_KNOWS_TOOLS = re.compile(r"\b(tools|functions|custom_tools|builtin_tools|available_tools)\b")


def names() -> list[str]:
    """What --tool-call-parser takes, further spellings left out."""
    return sorted(entry.name for entry in _ENTRIES)


def find(name: str) -> ToolFormat:
    """The format of this name."""
    for entry in _ENTRIES:
        if name == entry.name or name in entry.aliases:
            return _load(entry)
    raise ConfigError(f"There is no tool-call format {name!r}; there are: {', '.join(names())}.")


def detect(template: str, vocabulary: frozenset[str]) -> ToolFormat:
    """The format of a model with this chat template and these special and added tokens."""
    if knows_tools(template):
        for entry in _ENTRIES:
            tool_format = _load(entry)
            if tool_format.matches(template, vocabulary):
                return tool_format
    return find(GENERIC)


def knows_tools(template: str) -> bool:
    """Whether the template puts a request's tools into the prompt. Where not, instructions have to."""
    return _KNOWS_TOOLS.search(template) is not None


def _load(entry: _Entry) -> ToolFormat:
    module = importlib.import_module(f"inglenook.text.tool_formats.{entry.module}")
    tool_format: ToolFormat = getattr(module, entry.attribute)
    return tool_format
