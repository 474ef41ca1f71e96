"""How families of models mark their thinking: all formats by name, and which of them a chat template shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inglenook.errors import ConfigError
from inglenook.text import harmony
from inglenook.text.output import OutputParser, ReasoningFormat
from inglenook.text.reasoning_parser import MarkedParser, Marks


@dataclass(frozen=True)
class MarkedReasoning:
    """Thinking between marks. A template that has all the texts of `shown_by` is of this family.

    `are_special`: the marks are special tokens, in some models of the family at least.
    """

    name: str
    marks: Marks
    shown_by: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    are_special: bool = False

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        marks = self.marks
        every = (*marks.begins, *marks.ends, *marks.interrupts, marks.answer_begin, marks.answer_end)
        return frozenset(filter(None, every)) if self.are_special else frozenset()

    @property
    def begin(self) -> str:
        return self.marks.begins[0]

    @property
    def end(self) -> str:
        return self.marks.ends[0]

    @property
    def answer_begin(self) -> str:
        return self.marks.answer_begin

    @property
    def answer_end(self) -> str:
        return self.marks.answer_end

    @property
    def takes_line_ends(self) -> bool:
        return True

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return all(text in template for text in self.shown_by)

    def is_open(self, prompt: str) -> bool:
        return prompt.rstrip().endswith(self.marks.begins)

    def parser(self, rest: OutputParser | None, *, is_open: bool) -> OutputParser:
        return MarkedParser(self.marks, rest, is_open=is_open)


class HarmonyReasoning:
    """GPT-OSS thinks in messages of the channel `analysis`; what stands around other messages goes with it."""

    name = "openai_gptoss"
    aliases = ("gpt-oss", "gpt_oss", "harmony")
    special_tokens = harmony.SPECIAL_TOKENS
    begin = "<|channel|>analysis<|message|>"
    end = "<|end|><|start|>assistant"
    answer_begin = "<|channel|>final<|message|>"
    answer_end = ""
    takes_line_ends = False

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return harmony.CHANNEL in template and harmony.MESSAGE in template

    def is_open(self, prompt: str) -> bool:
        return prompt.endswith(self.begin)

    def parser(self, rest: OutputParser | None, *, is_open: bool) -> OutputParser:
        parser = harmony.HarmonyParser(rest)
        if is_open:
            parser.push(self.begin)
        return parser


def _think(name: str, *aliases: str, shown_by: tuple[str, ...] = (), **marks: Any) -> MarkedReasoning:
    return MarkedReasoning(
        name, Marks(("<think>",), ("</think>",), **marks), shown_by or ("</think>",), aliases, are_special=True
    )


# The most distinctive first: the first that matches is the model's.
_FORMATS: tuple[MarkedReasoning | HarmonyReasoning, ...] = (
    HarmonyReasoning(),
    MarkedReasoning(
        "gemma4",
        Marks(("<|channel>thought\n", "<|channel>thought"), ("<channel|>",)),
        ("<|channel>", "<channel|>"),
        are_special=True,
    ),
    MarkedReasoning("seed_oss", Marks(("<seed:think>",), ("</seed:think>",)), ("<seed:think>",), are_special=True),
    MarkedReasoning("kimi", Marks(("◁think▷",), ("◁/think▷",)), ("◁think▷",), are_special=True),
    MarkedReasoning("mistral", Marks(("[THINK]",), ("[/THINK]",)), ("[THINK]",), ("magistral",), are_special=True),
    MarkedReasoning(
        "cohere_command4",
        Marks(("<|START_THINKING|>",), ("<|END_THINKING|>",), answer_begin="<|START_TEXT|>", answer_end="<|END_TEXT|>"),
        ("<|START_THINKING|>", "<|START_TEXT|>"),
        are_special=True,
    ),
    MarkedReasoning(
        "cohere_command3",
        Marks(
            ("<|START_THINKING|>",),
            ("<|END_THINKING|>",),
            answer_begin="<|START_RESPONSE|>",
            answer_end="<|END_RESPONSE|>",
        ),
        ("<|START_THINKING|>",),
        ("cohere",),
        are_special=True,
    ),
    MarkedReasoning(
        "apertus",
        Marks(("<|inner_prefix|>",), ("<|inner_suffix|>",)),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        are_special=True,
    ),
    MarkedReasoning(
        "granite",
        Marks(
            ("Here is my thought process:", "Here's my thought process:"),
            ("Here is my response:", "Here's my response:"),
        ),
        ("Here is my thought process:",),
    ),
    MarkedReasoning("exaone", Marks(("<thought>",), ("</thought>",)), ("<thought>", "</thought>")),
    _think(
        "hunyuan_a13b",
        shown_by=("</think>", "<answer>"),
        answer_begin="<answer>",
        answer_end="</answer>",
    ),
    _think(
        "ernie45",
        "granite3.3",
        shown_by=("</think>", "<response>"),
        answer_begin="<response>",
        answer_end="</response>",
    ),
    _think(
        "kimi_k2",
        shown_by=("</think>", "<|tool_calls_section_begin|>"),
        interrupts=("<|tool_calls_section_begin|>",),
    ),
    _think(
        "deepseek_r1",
        *("deepseek-r1", "deepseek_v3", "deepseek-v3", "deepseek_v31", "deepseek_v4", "exaone4", "glm45", "glm47"),
        *("hermes4", "holo2", "hy_v3", "lfm2", "mimo", "minimax_m2", "minimax_m2_append_think", "nemotron_v3"),
        *("olmo3", "phi4", "poolside_v1", "qwen3", "qwen3-thinking", "ring", "smollm3", "step3", "step3p5", "think"),
    ),
)


def names() -> list[str]:
    """What --reasoning-parser takes: vLLM's names, where it has one."""
    return sorted(name for known in _FORMATS for name in (known.name, *known.aliases))


def find(name: str) -> ReasoningFormat:
    """The format of this name."""
    for known in _FORMATS:
        if name == known.name or name in known.aliases:
            return known
    raise ConfigError(f"There is no reasoning format {name!r}; there are: {', '.join(names())}.")


def detect(template: str, vocabulary: frozenset[str]) -> ReasoningFormat | None:
    """The format of a model with this chat template and these special and added tokens; None: it doesn't think."""
    return next((known for known in _FORMATS if known.matches(template, vocabulary)), None)
