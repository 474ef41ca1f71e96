"""The formats in which a model thinks and calls tools, found when it is loaded, and what they make of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from inglenook.backends.answer_parsers import Mended, WithoutReasoning
from inglenook.config import ModelSettings
from inglenook.engine.guide import StartGuide
from inglenook.text import reasoning
from inglenook.text.chat_template import ChatTemplate
from inglenook.text.output import OutputParser, ReasoningFormat, ToolFormat
from inglenook.text.repair import repair_output
from inglenook.text.tokenizer import Tokenizer
from inglenook.text.tool_formats import registry
from inglenook.types import ChatRequest, CompletionRequest, GenerateRequest


@dataclass(frozen=True)
class AnswerForm:
    """How the answers to a request are read, and what they are held to.

    `kept_ids` are special tokens that the parsers have to see.
    """

    make_parser: Callable[[], OutputParser | None] = lambda: None  # for one choice
    kept_ids: frozenset[int] = frozenset()
    start_guide: StartGuide | None = None  # None: nothing holds them


def named_formats(settings: ModelSettings) -> tuple[ToolFormat | None, ReasoningFormat | None]:
    """Those that the settings name. Raises ConfigError where there is none of that name."""
    tools, thinking = settings.tool_call_parser, settings.reasoning_parser
    return None if tools is None else registry.find(tools), None if thinking is None else reasoning.find(thinking)


class Formats:
    """`special_tokens` (name -> id) are those of the model that stand for themselves in grammars."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None, settings: ModelSettings) -> None:
        vocabulary = frozenset(tokenizer.added_tokens)
        source = template.for_tools.source if template is not None else ""
        tools, thinking = named_formats(settings)
        self.tools = tools or registry.detect(source, vocabulary)
        self.reasoning = thinking or reasoning.detect(source, vocabulary)
        self._generic = registry.find(registry.GENERIC)
        self._is_repaired = settings.repair_output
        self._added_tokens = tokenizer.added_tokens
        special = {name for name, token_id in tokenizer.added_tokens.items() if token_id in tokenizer.special_ids}
        for known in (self.tools, self._generic, self.reasoning):
            special |= known.special_tokens if known is not None else frozenset()
        self.special_tokens: Mapping[str, int] = self._ids(frozenset(special))

    def tool_format(self, *, uses_generic_tools: bool) -> ToolFormat:
        """Where the prompt explains tools in our own words, the model does as they say."""
        return self._generic if uses_generic_tools else self.tools

    def chat_form(self, request: ChatRequest, prompt: str, tool_format: ToolFormat) -> AnswerForm:
        tools = request.tool_use.callable_tools
        thinking = self.reasoning
        mend = partial(repair_output, keys=request.repair_keys)

        def make_parser() -> OutputParser | None:
            parser = tool_format.parser(tools) if tools else None
            if self._mends(request):
                parser = Mended(parser, mend)
            if thinking is not None and request.reasoning.is_separate:
                parser = thinking.parser(parser, is_open=thinking.is_open(prompt))
                if not request.reasoning.is_included:
                    parser = WithoutReasoning(parser)
            return parser

        names = tool_format.special_tokens if tools else frozenset[str]()
        if thinking is not None:
            names |= thinking.special_tokens
        return AnswerForm(make_parser, frozenset(self._ids(names).values()))

    def completion_form(self, request: CompletionRequest) -> AnswerForm:
        if not self._mends(request):
            return AnswerForm()
        return AnswerForm(lambda: Mended(None, partial(repair_output, keys=request.repair_keys)))

    def _mends(self, request: GenerateRequest) -> bool:
        """What is held to a constraint is whole already."""
        is_repaired = self._is_repaired if request.is_repaired is None else request.is_repaired
        return is_repaired and request.constraint is None

    def _ids(self, names: frozenset[str]) -> dict[str, int]:
        return {name: self._added_tokens[name] for name in sorted(names & self._added_tokens.keys())}
