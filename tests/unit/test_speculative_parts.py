"""What speculation decides from: where tokens stood before, how often guesses were right, what steps took."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.drafters import Oracle
from fixtures.fake_engine import make_request
from inglenook.engine.batch import ScheduledChunk, ScheduledStep
from inglenook.engine.sequence import Sequence, make_sequence
from inglenook.engine.speculative.acceptance import SURPRISE, Acceptance, evidence
from inglenook.engine.speculative.donors import MAX_KEPT, MAX_TOKENS, Donors
from inglenook.engine.speculative.lookup import Lookup
from inglenook.engine.speculative.ngram_index import NgramIndex
from inglenook.engine.speculative.speculator import Speculator
from inglenook.engine.speculative.step_times import MAX_AGE, StepTimes


def index_of(tokens: list[int], size: int | None = None, **lengths: int) -> NgramIndex:
    index = NgramIndex(tokens, **{"min_length": 2, "max_length": 8, **lengths})
    index.grow(len(tokens) if size is None else size)
    return index


# --- n-grams ----------------------------------------------------------------------------------------


def test_the_longest_match_wins_then_the_latest() -> None:
    tokens = [1, 2, 3, 9, 2, 3, 8, 1, 2, 3]
    assert index_of(tokens).find(tokens, 10) == (3, 3)
    tokens = [5, 2, 3, 9, 6, 2, 3, 8, 7, 2, 3]
    assert index_of(tokens).find(tokens, 11) == (7, 2)
    assert index_of(tokens).find(tokens, 11, near=(2,)) == (3, 2)
    assert index_of(tokens, 10).find(tokens, 10) == (-1, 0)


def test_near_a_lost_copy_one_token_is_enough() -> None:
    tokens = [4, 5, 6, 7, 8, 9, 20, 6]
    assert index_of(tokens).find(tokens, 8) == (-1, 0)
    assert index_of(tokens).find(tokens, 8, near=(1,)) == (3, 1)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4))
def test_matches_are_what_they_claim(tokens: list[int], min_length: int) -> None:
    index = index_of(tokens, min_length=min_length)
    position, length = index.find(tokens, len(tokens))
    if length:
        assert position < len(tokens)
        assert tokens[position - length : position] == tokens[len(tokens) - length :]
        assert length >= min_length
    else:
        tail = tokens[len(tokens) - min_length :]
        assert not any(tokens[i : i + min_length] == tail for i in range(len(tokens) - min_length))


# --- following a copy -------------------------------------------------------------------------------


def follow(prompt: list[int], output: list[int], donors: tuple[NgramIndex, ...] = ()) -> list[tuple[int, ...]]:
    """What is drafted in front of each token of the output, three tokens at most."""
    tokens = list(prompt)
    lookup = Lookup(index_of(tokens, 0), donors, Acceptance())
    drafts = []
    for token in output:
        lookup.advance()
        drafts.append(lookup.draft(n) if (n := len(lookup.chances(3))) else ())
        tokens.append(token)
    return drafts


def test_a_copy_is_followed_and_found_again_behind_a_changed_token() -> None:
    prompt = list(range(10, 30))
    drafts = follow(prompt, [10, 11, 12, 13, 99, 15, 16, 17])
    assert drafts[:2] == [(), ()]
    assert drafts[2] == (12, 13, 14)
    assert drafts[5] == (15, 16, 17)  # 99 stands for 14


def test_a_copy_is_found_again_behind_added_tokens() -> None:
    prompt = list(range(10, 30))
    drafts = follow(prompt, [10, 11, 12, 13, 98, 99, 97, 14, 15, 16])
    assert drafts[8] == (15, 16, 17)


def test_a_loop_is_drafted_beyond_its_end() -> None:
    assert follow([7, 1, 2, 1, 2], [1, 2])[0] == (1, 2, 1)


def test_a_donor_has_what_the_prompt_lacks() -> None:
    donor = index_of([1, 2, 3, 4, 5, 6, 7])
    assert follow([1, 2, 3, 4], [5, 6], (donor,)) == [(5, 6, 7), (6, 7)]


def test_a_token_that_surprised_is_doubted() -> None:
    tokens = [1, 2, 3, 4, 5, 1, 2, 3, 9, 5]
    lookup = Lookup(index_of(tokens, 0), (), Acceptance())
    for token in [1, 2, 3, 8, 5]:
        lookup.advance()
        tokens.append(token)
    lookup.advance()
    rates = lookup._rates.rates
    tokens += [1, 2]
    lookup.advance()
    assert lookup.draft(2) == (3, 8)
    assert lookup.chances(2)[1] == rates[SURPRISE]


def test_rates_follow_what_happens() -> None:
    everyone = Acceptance()
    one = Acceptance(everyone)
    for _ in range(60):
        one.add(evidence(9), True)
        one.add(evidence(2), False)
    assert one.rates[evidence(9)] > 0.95 and one.rates[evidence(2)] < 0.05
    assert Acceptance(everyone).rates == everyone.rates != Acceptance().rates


def test_donors_are_those_that_share_most_and_few_are_kept() -> None:
    donors = Donors()
    hashes = [bytes([i]) for i in range(6)]
    indexes = [index_of([i] * 10) for i in range(4)]
    for index, count in zip(indexes, (2, 5, 1, 5), strict=True):
        donors.add([*hashes[:count], b"own"], index)
    assert donors.find(hashes) == [indexes[3], indexes[1]]
    assert donors.find([b"other", b"document"]) == []
    donors.add(hashes, index_of([0] * (MAX_TOKENS - 15), 0))
    assert len(donors._kept) == 2
    for _ in range(MAX_KEPT + 5):  # short ones
        donors.add(hashes[:1], index_of([1] * 20, 0))
    assert len(donors._kept) == MAX_KEPT


# --- times and lengths ------------------------------------------------------------------------------


def test_unknown_times_are_guessed_low_and_bounded_by_what_is_known() -> None:
    times = StepTimes(8)
    times.add(1, 10.0)
    assert times.estimates(1) == []  # two plain steps come first
    times.add(1, 10.0)
    times.add(4, 11.0)
    times.add(99, 1.0)
    estimates = times.estimates(1)
    assert estimates[0] == 10 and estimates[3] == 11
    assert estimates == sorted(estimates) and estimates[2] < 11
    for _ in range(MAX_AGE):
        times.add(1, 10.0)
    assert times.estimates(1)[3] > 11.1


@pytest.mark.parametrize("seconds", [(10.0, 10.0, 500.0), (500.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0)])
def test_one_slow_step_is_no_reason(seconds: tuple[float, ...]) -> None:
    times = StepTimes(8)
    for each in seconds:
        times.add(2, each)
    assert times.estimates(2)[0] <= 18


def sequences(count: int) -> list[Sequence]:
    return [make_sequence(make_request(str(i), [1, 2, 3], 50), i, 100) for i in range(count)]


def run_steps(speculator: Speculator, seconds: Any, steps: int, count: int = 1) -> list[list[int]]:
    lengths = []
    for _ in range(steps):
        chosen = sequences(count)
        drafts = speculator.propose(chosen) or [()] * count
        chunks = [ScheduledChunk(s, 2, 1 + len(d), True, d) for s, d in zip(chosen, drafts, strict=True)]
        step = ScheduledStep(chunks, count, None, 4)  # type: ignore[arg-type]
        speculator.observe(step, seconds(sum(chunk.num_tokens for chunk in chunks)))
        lengths.append([len(d) for d in drafts])
    return lengths


@pytest.mark.parametrize(
    ("chance", "seconds", "expected"),
    [
        (0.99, lambda n: 1.0, {15}),  # rows cost nothing
        (0.99, lambda n: 1.0 if n <= 4 else n / 2, {3}),  # nothing up to 4 rows
        (0.99, lambda n: float(n), {0}),  # a row costs what a step costs
        (0.5, lambda n: 1 + 0.3 * (n - 1), {1}),
        (0.1, lambda n: 1 + 0.2 * (n - 1), {0}),
        (0.01, lambda n: 1.0, {0}),
    ],
)
def test_lengths_settle_on_what_pays(chance: float, seconds: Any, expected: set[int]) -> None:
    speculator = Speculator(Oracle(chance=chance), max_rows=16, max_draft_tokens=15)
    lengths = run_steps(speculator, seconds, 120)
    assert {n for (n,) in lengths[-40:]} == expected


def test_few_rows_are_shared_and_many_sequences_get_none() -> None:
    speculator = Speculator(Oracle(), max_rows=16, max_draft_tokens=15)
    assert run_steps(speculator, lambda n: 1.0, 3, count=4)[-1] == [3, 3, 3, 3]
    assert run_steps(speculator, lambda n: 1.0, 3, count=16)[-1] == [0] * 16
