"""An answer's text split into what the client gets apart: thinking, content and tool calls. The seam to the families'
formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from inglenook.lark import CallBlock
from inglenook.types import Tool, ToolCallDelta


@dataclass(frozen=True)
class ParsedText:
    """What a piece of text adds. Its parts come in this order."""

    reasoning: str = ""
    content: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


class OutputParser(Protocol):
    """Takes an answer's text, special tokens included as they are spelled, however it is cut into pieces.

    Nothing is held back that can't be the beginning of something else; nothing is lost: text that looks like a call
    and isn't one is content.
    """

    def push(self, text: str) -> ParsedText: ...

    def finish(self) -> ParsedText:
        """What is left when no text follows. A call that was cut off stays as far as it got."""
        ...


class ToolFormat(Protocol):
    """How a family of models writes tool calls. One file a family, in tool_formats/."""

    @property
    def name(self) -> str:
        """As --tool-call-parser takes it; vLLM's name where it has one."""
        ...

    @property
    def special_tokens(self) -> frozenset[str]:
        """The names of special tokens that calls are made of: they must stay visible in the text."""
        ...

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        """Whether a model with this chat template and these special tokens writes its calls so."""
        ...

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        """The grammar of calls of these tools. `special_tokens` are those of the vocabulary: name -> id."""
        ...

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        """Content and calls; it leaves reasoning empty."""
        ...


class ReasoningFormat(Protocol):
    """How a family of models marks its thinking. In reasoning.py."""

    @property
    def name(self) -> str: ...

    @property
    def special_tokens(self) -> frozenset[str]: ...

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool: ...

    def is_open(self, prompt: str) -> bool:
        """Whether the prompt's end has begun the thinking already."""
        ...

    @property
    def begin(self) -> str:
        """What opens the thinking, where the prompt doesn't."""
        ...

    @property
    def end(self) -> str:
        """What closes it. Behind it comes the answer."""
        ...

    @property
    def answer_begin(self) -> str:
        """What opens the answer's content, behind the thinking and where there was none; often ""."""
        ...

    @property
    def answer_end(self) -> str:
        """What closes it, before the end of the turn; often ""."""
        ...

    @property
    def takes_line_ends(self) -> bool:
        """Whether line ends beside the marks belong to them."""
        ...

    def parser(self, rest: OutputParser | None, *, is_open: bool) -> OutputParser:
        """Splits off the thinking; the text behind it goes through `rest`, or is content as it is."""
        ...
