"""The grammars that answers are held to: written for a request, compiled once, kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from inglenook.backends.formats import Formats
from inglenook.engine.guide import StartGuide
from inglenook.errors import InvalidRequestError
from inglenook.grammar.body import Body
from inglenook.grammar.compiler import GrammarCompiler
from inglenook.grammar.constraint import constraint_body
from inglenook.grammar.free_text import free_text
from inglenook.grammar.json_schema import prepare_schema
from inglenook.grammar.response import LINE_ENDS, Reasoning, response_grammar
from inglenook.grammar.thinking import ThinkingBudget
from inglenook.grammar.vocabulary import Vocabulary
from inglenook.lark import CallBlock, Lark, literal
from inglenook.text.output import ToolFormat
from inglenook.text.tokenizer import Tokenizer
from inglenook.text.tool_formats import registry
from inglenook.text.tool_formats.schemas import arguments_schema
from inglenook.types import ChatRequest, CompletionRequest, Constraint, Tool, ToolUse


class AnswerGuides:
    """`vocab_size` is that of the model's logits; `end_ids` end its answers. Safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer, formats: Formats, *, vocab_size: int, end_ids: Collection[int]) -> None:
        self._formats = formats
        self._special_tokens = formats.special_tokens
        self._compiler = make_compiler(
            tokenizer, vocab_size=vocab_size, special_tokens=self._special_tokens, end_ids=end_ids
        )

    def for_completion(self, request: CompletionRequest) -> StartGuide | None:
        if request.constraint is None:
            return None
        body = constraint_body(request.constraint, self._special_tokens)
        grammar = response_grammar(body=body, special_tokens=self._special_tokens)
        return self._compiler.compile(grammar, param=request.constraint.param).start

    def for_chat(self, request: ChatRequest, prompt: str, tool_format: ToolFormat) -> StartGuide | None:
        """Blocks while it compiles. Raises InvalidRequestError, naming the field, for what can't be enforced."""
        use, constraint = request.tool_use, request.constraint
        tools = _ready_tools(use)
        reasoning = self._reasoning(request, prompt)
        budget = self._budget(request, reasoning)
        if not tools and constraint is None and budget is None:
            return None
        # A model that was never taught to call doesn't know when to stop, either: the first call is what was asked for.
        is_parallel = use.is_parallel and not (use.mode == "required" and tool_format.name == registry.GENERIC)
        blocks = self._blocks(list(tools.values()), tool_format, is_parallel=is_parallel)
        body = self._framed_text() if constraint is None else self._framed(self._content(constraint))
        write = partial(
            response_grammar,
            reasoning=reasoning,
            mode="required" if use.mode == "required" and tools else "auto",
            is_parallel=is_parallel,
            special_tokens=self._special_tokens,
        )
        param = constraint.param if constraint is not None else "tools" if tools else "thinking_token_budget"
        try:
            compiled = self._compiler.compile(write(body=body, blocks=blocks), param=param)
        except InvalidRequestError:
            self._name_tool(tools, tool_format)
            raise
        return partial(compiled.start, budget)

    def _reasoning(self, request: ChatRequest, prompt: str) -> Reasoning | None:
        """None where the answer has no thinking: the model has none, or the request turned it off."""
        known = self._formats.reasoning
        if known is None:
            return None
        is_open = known.is_open(prompt)
        options = request.reasoning
        if not is_open and (options.is_enabled is False or options.max_tokens == 0):
            return None
        return Reasoning(known.begin, known.end, is_open, takes_line_ends=known.takes_line_ends)

    def _budget(self, request: ChatRequest, reasoning: Reasoning | None) -> ThinkingBudget | None:
        max_tokens = request.reasoning.max_tokens
        if reasoning is None or max_tokens is None:
            return None
        return ThinkingBudget(max_tokens, reasoning.begin, reasoning.end, reasoning.is_open)

    def _blocks(self, tools: Sequence[Tool], tool_format: ToolFormat, *, is_parallel: bool) -> tuple[CallBlock, ...]:
        return tool_format.blocks(tools, self._special_tokens, is_parallel=is_parallel) if tools else ()

    def _content(self, constraint: Constraint) -> Body:
        return constraint_body(constraint, self._special_tokens)

    def _framed_text(self) -> Body | None:
        """Free text in special tokens, which no free text holds by itself; None where the family has no such frame."""
        known = self._formats.reasoning
        if known is None or not any(name in known.answer_begin for name in self._special_tokens):
            return None
        return self._framed(Body(free_text("plain", (), self._special_tokens, is_repeated=False)), may_be_bare=True)

    def _framed(self, body: Body, *, may_be_bare: bool = False) -> Body:
        """The answer's content with what stands around it in this family."""
        known = self._formats.reasoning
        if known is None or not known.answer_begin:
            return body
        begin, end = (literal(text, self._special_tokens) for text in (known.answer_begin, known.answer_end))
        line_ends = LINE_ENDS if known.takes_line_ends else ""
        frame = f"({begin} {line_ends}){'?' * may_be_bare} {body.lark.expression}"
        if end:
            frame += f" ({line_ends} {end} {line_ends})?"
        return Body(Lark(f"({frame})", body.lark.rules), body.grammars)

    def _name_tool(self, tools: Mapping[str, Tool], tool_format: ToolFormat) -> None:
        """Raise the error that names the tool whose parameters can't be enforced, if it is one of them alone."""
        for param, tool in tools.items():
            blocks = self._blocks([tool], tool_format, is_parallel=False)
            grammar = response_grammar(blocks=blocks, mode="required", special_tokens=self._special_tokens)
            self._compiler.compile(grammar, param=param)


def make_compiler(
    tokenizer: Tokenizer, *, vocab_size: int, special_tokens: Mapping[str, int], end_ids: Collection[int]
) -> GrammarCompiler:
    """Of grammars for a model's tokens. `special_tokens` (name -> id) are those that grammars may name."""
    return GrammarCompiler(
        Vocabulary(
            size=vocab_size,
            num_tokens=min(tokenizer.vocab_size, vocab_size),
            token_bytes=tokenizer.token_bytes,
            encode=partial(tokenizer.encode, add_special_tokens=False),
            special_tokens=special_tokens,
            end_ids=end_ids,
        )
    )


def _ready_tools(use: ToolUse) -> dict[str, Tool]:
    """The tools that may be called, by the field of their parameters, which are as grammars take them.

    Raises InvalidRequestError with that field for what can't be enforced.
    """
    ready = {}
    names = {tool.name for tool in use.callable_tools}
    for index, tool in enumerate(use.tools):
        if tool.name in names:
            param = tool.param or f"tools[{index}].function.parameters"
            schema = prepare_schema(arguments_schema(tool), param=param)
            assert isinstance(schema, dict)
            ready[param] = replace(tool, parameters=schema)
    return ready
