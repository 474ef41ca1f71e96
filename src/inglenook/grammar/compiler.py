"""Grammars compiled once and kept: what a request waits for before it may run."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

from inglenook.errors import InvalidRequestError
from inglenook.grammar.guide import TokenGuide
from inglenook.grammar.large_stack import on_large_stack
from inglenook.grammar.thinking import ThinkingBudget, ThinkingCounter
from inglenook.grammar.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_CACHED = 256
MAX_GRAMMAR_CHARACTERS = 4_000_000
MAX_REASON_CHARACTERS = 400
_TOO_MANY_WAYS = re.compile(r"Current row has (\d+) items; max is (\d+)")
WARM_STEPS = 6
MAX_WARM_FORCED = 100


class CompiledGrammar:
    """Safe to use from several threads at once."""

    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._lock = threading.Lock()

    def start(self, budget: ThinkingBudget | None = None) -> TokenGuide:
        """A guide at the beginning of an answer. Takes some 50 us."""
        with self._lock:
            matcher = self._matcher.deep_copy()
        thinking = None
        if budget is not None:
            end_ids = self._vocabulary.mark(budget.end)
            thinking = ThinkingCounter(budget, end_ids, self._vocabulary.token_bytes)
        return TokenGuide(matcher, self._vocabulary, thinking)


class GrammarCompiler:
    """Safe to use from several threads at once. Compiles of the same grammar at the same time happen once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._lock = threading.Lock()
        self._cache: OrderedDict[bytes, Future[LLMatcher | str]] = OrderedDict()

    def compile(self, grammar: str, *, param: str) -> CompiledGrammar:
        """Blocks, mostly without the interpreter lock, for up to about 2 s: never call it on an event loop.

        `grammar` is what response_grammar() writes. Raises InvalidRequestError with `param` where it isn't one or
        needs too much.
        """
        if len(grammar) > MAX_GRAMMAR_CHARACTERS:
            raise InvalidRequestError(
                f"The grammar of this answer has {len(grammar)} characters; at most {MAX_GRAMMAR_CHARACTERS} are "
                "allowed.",
                param=param,
            )
        key = hashlib.sha256(grammar.encode(errors="surrogatepass")).digest()
        with self._lock:
            future = self._cache.get(key)
            is_mine = future is None
            if future is None:
                future = self._cache[key] = Future()
                while len(self._cache) > MAX_CACHED:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(key)
        if is_mine:
            try:
                future.set_result(on_large_stack(lambda: self._compile(grammar)))
            except BaseException as error:
                with self._lock:
                    self._cache.pop(key, None)
                future.set_exception(error)
                raise
        result = future.result()
        if isinstance(result, str):
            raise InvalidRequestError(f"{param} can't be enforced: {result}", param=param)
        return CompiledGrammar(result, self.vocabulary)

    def _compile(self, grammar: str) -> LLMatcher | str:
        """The matcher, or what is wrong with the grammar."""
        from llguidance import LLMatcher, LLParserLimits

        # A grammar that needs more is refused, or fails its request alone: a step of the engine must not wait for it.
        limits = LLParserLimits(
            initial_lexer_fuel=1_000_000,
            step_lexer_fuel=200_000,
            step_max_items=20_000,
            max_lexer_states=50_000,
            max_grammar_size=500_000,
            verbose_errors=False,
        )
        matcher = LLMatcher(self.vocabulary.tokenizer, grammar, log_level=0, limits=limits)
        error = matcher.get_error() or _first_steps(matcher, self.vocabulary)
        return _reason(error) if error else matcher


def _first_steps(matcher: LLMatcher, vocabulary: Vocabulary) -> str:
    """Go some way into the grammar: what is too complex shows, and the tables are filled that all copies share.

    Returns what went wrong.
    """
    matcher = matcher.deep_copy()
    for _ in range(WARM_STEPS):
        mask = int.from_bytes(matcher.compute_bitmask(), "little")
        forced = matcher.compute_ff_tokens()[:MAX_WARM_FORCED]
        if matcher.is_error() or matcher.is_stopped() or not mask:
            break
        if not matcher.consume_tokens(forced or [(mask & -mask).bit_length() - 1]):
            break
    return matcher.get_error()


def _reason(error: str) -> str:
    """What a client can use of an error of llguidance."""
    text, _, _ = error.partition("\n   1 | ")
    text, _, _ = text.partition("<state>")
    if "failed to compile JSON schema: " in text:
        text = text.partition("failed to compile JSON schema: ")[2]
    text = " ".join(text.split())
    many = _TOO_MANY_WAYS.search(text)
    if many is not None:
        text = (
            f"it can go on in {many[1]} ways at one place (such as optional properties); at most {many[2]} are allowed"
        )
    return text if len(text) <= MAX_REASON_CHARACTERS else text[:MAX_REASON_CHARACTERS] + "..."
