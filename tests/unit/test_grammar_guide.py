"""Guides: masks, forced tokens, going back, and the bound on thinking."""

import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.grammars import allowed, schema_grammar, small_compiler, small_tokenizer, small_vocabulary, vocabulary_of
from inglenook.errors import EngineError, InvalidRequestError
from inglenook.grammar.compiler import GrammarCompiler
from inglenook.grammar.guide import TokenGuide
from inglenook.grammar.response import Reasoning, response_grammar
from inglenook.grammar.thinking import ThinkingBudget
from inglenook.text.tokenizer import Tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["red", "green", 1]}}},
    "required": ["name", "tags"],
    "additionalProperties": False,
}


def start(budget: ThinkingBudget | None = None) -> TokenGuide:
    vocabulary = small_vocabulary()
    if budget is None:
        return small_compiler().compile(schema_grammar(SCHEMA), param="p").start()
    grammar = response_grammar(
        reasoning=Reasoning(budget.begin, budget.end, budget.is_open), special_tokens=vocabulary.special_tokens
    )
    return small_compiler().compile(grammar, param="p").start(budget)


BUDGETS = [None, ThinkingBudget(5, "<think>", "</think>", True), ThinkingBudget(3, "<think>", "</think>", False)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=8),
    st.sampled_from(BUDGETS),
)
def test_a_guide_depends_on_the_accepted_tokens_alone(seed: int, moves: list, budget: ThinkingBudget | None) -> None:
    vocabulary, rng = small_vocabulary(), random.Random(seed)
    guide, accepted = start(budget), []
    for num_forward, num_back in moves:
        for _ in range(num_forward):
            if guide.is_finished:
                break
            token_id = rng.choice([i for i in allowed(guide, vocabulary) if i not in vocabulary.end_ids] or [0])
            if token_id == 0:
                break
            guide.accept([token_id])
            accepted.append(token_id)
        num_back = min(num_back, len(accepted))
        guide.rollback(num_back)
        accepted = accepted[: len(accepted) - num_back]
        fresh = start(budget)
        fresh.accept(accepted)
        assert (fresh.is_finished, fresh.forced()) == (guide.is_finished, guide.forced())
        assert allowed(fresh, vocabulary) == allowed(guide, vocabulary)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(BUDGETS))
def test_masks_and_counts_agree(seed: int, budget: ThinkingBudget | None) -> None:
    vocabulary, rng = small_vocabulary(), random.Random(seed)
    guide = start(budget)
    for _ in range(12):
        if guide.is_finished:
            break
        before = allowed(guide, vocabulary)
        for token_id in rng.sample(range(vocabulary.num_tokens), 20) + before[:5]:
            assert guide.count_allowed([token_id]) == (token_id in before)
        assert allowed(guide, vocabulary) == before
        assert all(token_id < vocabulary.num_tokens for token_id in before)  # rows without a token never come
        token_id = rng.choice(before)
        if token_id in vocabulary.end_ids:
            break
        draft = [token_id, *rng.sample(range(vocabulary.num_tokens), 3)]
        count = guide.count_allowed(draft)
        for i, one in enumerate(draft[:count]):
            assert one in allowed(guide, vocabulary), (i, draft)
            guide.accept([one])
        if count < len(draft) and not guide.is_finished:
            assert draft[count] not in allowed(guide, vocabulary)


def test_forced_tokens_are_split_as_the_model_splits() -> None:
    guide = start()
    text = small_tokenizer().decode(guide.forced())
    assert text == '{"name": "'
    ids = small_vocabulary().encode('{"name": "x", "tags": ["red"]}')
    assert guide.forced() == ids[: len(guide.forced())]
    guide.accept(ids)
    assert guide.is_finished


@pytest.mark.parametrize("budget", BUDGETS[1:])
def test_thinking_ends_with_its_budget(budget: ThinkingBudget) -> None:
    vocabulary, guide = small_vocabulary(), start(budget)
    begin = [] if budget.is_open else vocabulary.encode("<think>")
    thought = (vocabulary.encode("one two three four five six"))[: budget.max_tokens]
    end = vocabulary.mark("</think>")
    guide.accept(begin)
    guide.accept(thought[:-1])
    assert len(allowed(guide, vocabulary)) > 100
    assert guide.count_allowed([thought[-1], thought[-1]]) == 1
    guide.accept(thought[-1:])
    for i in range(len(end)):
        assert guide.forced() == end[i:] and allowed(guide, vocabulary) == [end[i]]
        assert guide.count_allowed([*end[i:], thought[0]]) == len(end) - i + 1
        guide.accept([end[i]])
    assert not guide.forced() and len(allowed(guide, vocabulary)) > 100
    guide.rollback(len(end))
    assert guide.forced() == end


def test_thinking_that_ends_in_time_and_answers_without_any_are_not_bounded() -> None:
    vocabulary = small_vocabulary()
    for budget, text in [(BUDGETS[1], "a</think>"), (BUDGETS[2], "An answer"), (BUDGETS[2], "<think>a</think>")]:
        guide = start(budget)
        guide.accept(vocabulary.encode(text))
        guide.accept(vocabulary.encode(" and a long text behind it, of many tokens"))
        assert not guide.forced()


def test_a_budget_waits_for_the_end_of_a_character() -> None:
    vocabulary, guide = small_vocabulary(), start(ThinkingBudget(1, "<think>", "</think>", True))
    ids = vocabulary.encode("\U0001f98a")
    assert len(ids) > 1
    guide.accept(ids[:1])
    assert not guide.forced()
    guide.accept(ids[1:])
    assert guide.forced() == vocabulary.mark("</think>")


def test_a_model_without_an_end_token() -> None:
    for size in (600, 608):  # with and without room in the mask's last word
        tokenizer = Tokenizer.dummy(size)
        vocabulary = vocabulary_of(tokenizer)
        assert not vocabulary.end_ids
        compiler = GrammarCompiler(vocabulary)
        guide = compiler.compile(schema_grammar({"enum": ["ab", "ac"]}), param="p").start()
        assert guide.forced()
        guide.accept(guide.forced())
        assert len(allowed(guide, vocabulary)) >= 2
        guide.accept([next(i for i in allowed(guide, vocabulary) if tokenizer.token_bytes(i) == b"c")])
        guide.accept(guide.forced())
        assert guide.is_finished


def test_misuse_fails_this_guide_alone() -> None:
    compiled = small_compiler().compile(schema_grammar(SCHEMA), param="p")
    guide, other = compiled.start(), compiled.start()
    with pytest.raises(EngineError) as error:
        guide.accept(small_vocabulary().encode("Hello"))
    assert "grammar" in error.value.message and "\n" not in error.value.message
    with pytest.raises(EngineError):
        guide.fill_mask(np.zeros(small_vocabulary().num_words, np.uint32))
    with pytest.raises(EngineError):
        compiled.start().rollback(3)
    assert other.forced()


def test_the_same_grammar_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, compiled = GrammarCompiler(small_vocabulary()), []
    compile_one = compiler._compile
    monkeypatch.setattr(compiler, "_compile", lambda text: (compiled.append(text), compile_one(text))[1])
    grammar = schema_grammar(SCHEMA)
    threads = [threading.Thread(target=lambda: compiler.compile(grammar, param="p").start().forced()) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiled == [grammar]
    for _ in range(2):  # what isn't one is known, too, and the field is this request's
        with pytest.raises(InvalidRequestError) as error:
            compiler.compile("start: nope", param="tools")
        assert error.value.param == "tools"
    assert len(compiled) == 2


def test_texts_are_encoded_without_special_tokens() -> None:
    vocabulary = small_vocabulary()
    special = set(vocabulary.special_tokens.values())
    for text in ["<|im_end|>", "a<|im_start|>b<|im_end|>", "<tool call>", "plain", "é日"]:
        ids = vocabulary.encode(text)
        assert special.isdisjoint(ids) and b"".join(map(vocabulary.token_bytes, ids)) == text.encode()
    assert vocabulary.mark("a<|im_end|>b")[1] == vocabulary.special_tokens["<|im_end|>"]
