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
    _Entry("openai", "openai", aliases=("gpt-oss", "gpt_oss", "harmony")),
    _Entry("kimi_k2", "kimi"),
    _Entry("deepseek_v3", "deepseek", "V3", ("deepseekv3", "deepseek_r1")),
    _Entry("deepseek_v31", "deepseek", "V31", ("deepseekv31",)),
    _Entry("minimax_m2", "minimax"),
    _Entry("seed_oss", "qwen3_coder", "SEED_OSS"),
    _Entry("glm47", "glm", "GLM47"),
    _Entry("glm45", "glm", "GLM45", ("glm",)),
    _Entry("qwen3_coder", "qwen3_coder", aliases=("qwen3_xml", "step3p5", "nemotron_v3")),
    _Entry("llama4_pythonic", "pythonic", "LLAMA4"),
    _Entry("lfm2", "pythonic", "LFM2"),
    _Entry("olmo3", "pythonic", "OLMO3"),
    _Entry("pythonic", "pythonic"),
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
