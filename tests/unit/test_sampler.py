"""The sampler against a plain numpy version of the same rules, and the promises that it makes to a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inglenook.errors import EngineError, InvalidRequestError
from inglenook.ops import _native
from inglenook.ops.sampling import SampleResult, SamplerState, ThreadPool, sample, sample_runs
from inglenook.types import SamplingParams

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def state(
    params: SamplingParams,
    vocab_size: int,
    *,
    seed: int = 0,
    prompt: tuple[int, ...] = (),
    stops: frozenset[int] = frozenset(),
    banned: tuple[tuple[int, ...], ...] = (),
) -> SamplerState:
    return SamplerState(
        params, vocab_size=vocab_size, seed=seed, prompt_token_ids=prompt, stop_token_ids=stops, banned=banned
    )


def random_logits(vocab_size: int, seed: int = 0, num_rows: int = 1, spread: float = 3.0) -> Floats:
    return (np.random.default_rng(seed).standard_normal((num_rows, vocab_size)) * spread).astype(np.float32)


# --- the reference ------------------------------------------------------------------------------------------------


Banned = tuple[tuple[int, ...], ...]


def changed_logits(
    logits: Floats,
    params: SamplingParams,
    prompt: tuple[int, ...],
    output: list[int],
    stops: frozenset[int],
    banned: Banned = (),
) -> Doubles:
    changed = logits.astype(np.float64)
    for token_id, bias in params.logit_bias.items():
        changed[token_id] += bias
    if len(output) < params.min_tokens:
        changed[list(stops)] = -np.inf
    for *before, last in banned:
        if output[len(output) - len(before) :] == before:
            changed[last] = -np.inf
    if params.allowed_token_ids is not None:
        changed[np.setdiff1d(np.arange(len(changed)), params.allowed_token_ids)] = -np.inf
    for token_id in {*prompt, *output}:
        factor = params.repetition_penalty
        changed[token_id] = changed[token_id] / factor if changed[token_id] > 0 else changed[token_id] * factor
    for token_id in set(output):
        changed[token_id] -= params.presence_penalty + params.frequency_penalty * output.count(token_id)
    return changed


def probabilities(logits: Doubles, params: SamplingParams) -> Doubles:
    weights = np.exp((logits - logits.max()) / params.temperature)
    weights[weights < params.min_p] = 0
    order = np.lexsort((np.arange(len(weights)), -weights))
    if params.top_k > 0:
        weights[order[params.top_k :]] = 0
    before = np.cumsum(weights[order]) - weights[order]
    weights[order[before >= params.top_p * weights.sum()]] = 0
    return typical(weights / weights.sum(), params.typical_p)


def typical(shares: Doubles, mass: float) -> Doubles:
    """Locally typical sampling, as the paper has it: by distance of the surprise from the entropy."""
    if mass == 1:
        return shares
    surprise = np.full(len(shares), np.inf)
    surprise[shares > 0] = -np.log(shares[shares > 0])
    entropy = (shares[shares > 0] * surprise[shares > 0]).sum()
    order = np.lexsort((np.arange(len(shares)), np.round(np.abs(surprise - entropy), 9)))
    before = np.cumsum(shares[order]) - shares[order]
    kept = np.where(np.isin(np.arange(len(shares)), order[before < mass]), shares, 0)
    return kept / kept.sum()


def tokens_at(uniform: float, shares: Doubles) -> set[int]:
    """The tokens that hold `uniform`, allowing for 32-bit arithmetic at a boundary."""
    ends = np.cumsum(shares)
    near = (ends > uniform - 1e-5) & (ends - shares <= uniform + 1e-5) & (shares > 0)
    return set(np.flatnonzero(near).tolist())


params_strategy = st.builds(
    SamplingParams,
    temperature=st.floats(0.2, 2.0),
    top_p=st.one_of(st.just(1.0), st.floats(0.05, 1.0)),
    top_k=st.one_of(st.sampled_from([0, -1, 1, 10**6]), st.integers(1, 40)),
    min_p=st.one_of(st.just(0.0), st.floats(0.0, 1.0)),
    typical_p=st.one_of(st.just(1.0), st.floats(0.05, 1.0)),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    presence_penalty=st.sampled_from([0.0, 1.5, -1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.7, -0.4]),
    min_tokens=st.integers(0, 4),
    # Eighths: the reference computes in float64, and what float32 rounds away would change its order.
    logit_bias=st.dictionaries(st.integers(0, 36), st.integers(-800, 800).map(lambda n: n / 8), max_size=3),
    # More tokens than can be banned at once.
    allowed_token_ids=st.one_of(st.none(), st.just(tuple(range(0, 37, 2))), st.just(tuple(range(20)))),
)
banned_strategy = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple), max_size=4).map(tuple)


@given(
    params=params_strategy,
    vocab_size=st.sampled_from([37, 64, 300, 1025, 5000]),
    seed=st.integers(-(2**63), 2**63 - 1),
    spread=st.sampled_from([0.0, 0.3, 3.0, 20.0]),
    prompt=st.lists(st.integers(0, 36), max_size=6).map(tuple),
    banned=banned_strategy,
)
@settings(max_examples=300, deadline=None)
def test_draws_as_the_reference_does(
    params: SamplingParams, vocab_size: int, seed: int, spread: float, prompt: tuple[int, ...], banned: Banned
) -> None:
    stops = frozenset({0, 5})
    sampler = state(params, vocab_size, seed=seed, prompt=prompt, stops=stops, banned=banned)
    output: list[int] = []
    for position in range(8):
        logits = random_logits(vocab_size, position, spread=spread)
        (token_id,) = sample(logits, [sampler]).token_ids
        changed = changed_logits(logits[0], params, prompt, output, stops, banned)
        shares = probabilities(changed, params)
        allowed = tokens_at(_native.uniform(seed % 2**64, position), shares)
        # Of candidates whose weights differ by less than float32 can tell, either may have been cut off.
        relaxed = replace(params, top_p=min(1.0, params.top_p + 1e-5), min_p=params.min_p * (1 - 1e-5))
        strict = replace(params, top_p=params.top_p - 1e-5, min_p=min(1.0, params.min_p * (1 + 1e-5)))
        variants = [replace(v, typical_p=min(1.0, v.typical_p + d)) for v in (relaxed, strict) for d in (-1e-5, 1e-5)]
        for variant in variants:
            shares = probabilities(changed, variant)
            allowed |= tokens_at(_native.uniform(seed % 2**64, position), shares)
        assert token_id in allowed
        output.append(token_id)
    assert sampler.num_output == 8


# --- greedy ---------------------------------------------------------------------------------------------------------


@given(values=st.lists(st.sampled_from([-np.inf, -1e30, -2.0, -0.0, 0.0, 1e-40, 3.0, 3e38]), min_size=1, max_size=600))
@settings(max_examples=150, deadline=None)
def test_greedy_takes_the_lowest_of_the_largest(values: list[float]) -> None:
    logits = np.array([values], np.float32)
    if np.isneginf(logits).all():
        return
    (token_id,) = sample(logits, [state(SamplingParams(temperature=0), len(values))]).token_ids
    assert token_id == int(np.argmax(logits[0]))


def test_tiny_temperature_is_greedy() -> None:
    logits = random_logits(500)
    for temperature in (0.0, 1e-6, 2e-5):
        (token_id,) = sample(logits, [state(SamplingParams(temperature=temperature), 500)]).token_ids
        assert token_id == int(logits.argmax())


def test_ties_at_top_k_go_to_the_lower_ids() -> None:
    logits = np.zeros((1, 300), np.float32)
    seen = set()
    for seed in range(200):
        seen |= set(sample(logits, [state(SamplingParams(top_k=3), 300, seed=seed)]).token_ids)
    assert seen == {0, 1, 2}


# --- chance -----------------------------------------------------------------------------------------------------------


def test_philox_gives_the_published_numbers() -> None:
    """Known answers of Random123 (kat_vectors, philox4x32 10), first two words."""
    expected = ((0x6627E8D5 >> 5) * 2**26 + (0xE169C58D >> 6)) / 2**53
    assert _native.uniform(0, 0) == expected


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.6),
        SamplingParams(top_k=7),
        SamplingParams(top_p=0.8),
        SamplingParams(min_p=0.1, temperature=1.4),
        SamplingParams(top_k=12, top_p=0.9, min_p=0.02),
        SamplingParams(typical_p=0.6),
        SamplingParams(top_p=0.95, typical_p=0.3, temperature=1.3),
    ],
)
def test_frequencies_are_the_probabilities(params: SamplingParams) -> None:
    logits = random_logits(40, seed=3, spread=1.5)
    expected = probabilities(logits[0].astype(np.float64), params)
    num_draws = 20_000
    sampler = state(params, 40, seed=1234)
    counts = np.bincount([sample(logits, [sampler]).token_ids[0] for _ in range(num_draws)], minlength=40)
    assert (counts[expected == 0] == 0).all()
    kept = expected > 0
    statistic = float((np.square(counts[kept] - num_draws * expected[kept]) / (num_draws * expected[kept])).sum())
    degrees = int(kept.sum()) - 1
    assert statistic < degrees + 4 * np.sqrt(2 * degrees)  # about 1 in 10,000 with another seed


def test_neighbours_batch_and_threads_change_nothing() -> None:
    vocab_size, num_rows = 49152, 24
    logits = random_logits(vocab_size, num_rows=num_rows)
    kinds = [
        SamplingParams(seed=1, logprobs=2),
        SamplingParams(top_p=0.9),
        SamplingParams(top_k=50, temperature=1.7),
        SamplingParams(temperature=0, logprobs=0),
        SamplingParams(min_p=0.05, frequency_penalty=1.0),
    ]

    def states() -> list[SamplerState]:
        return [state(kinds[i % len(kinds)], vocab_size, seed=i) for i in range(num_rows)]

    together = states()
    threaded = states()
    alone = states()
    for _ in range(3):
        expected = sample(logits, together)
        assert sample(logits, threaded, ThreadPool(3)) == expected
        for i in reversed(range(num_rows)):
            result = sample(logits[i : i + 1], [alone[i]])
            assert (result.token_ids, result.logprobs, result.top) == (
                expected.token_ids[i : i + 1],
                expected.logprobs[i : i + 1],
                expected.top[i : i + 1],
            )


def test_seeds_differ() -> None:
    logits = np.zeros((64, 1000), np.float32)
    assert len(set(sample(logits, [state(SamplingParams(), 1000, seed=i) for i in range(64)]).token_ids)) > 50
    sampler = state(SamplingParams(), 1000, seed=-1)
    assert len({sample(logits[:1], [sampler]).token_ids[0] for _ in range(64)}) > 50


# --- log-probabilities ---------------------------------------------------------------------------------------------


def log_softmax(logits: Floats) -> Doubles:
    values = logits.astype(np.float64)
    return values - values.max() - np.log(np.exp(values - values.max()).sum())


@pytest.mark.parametrize("num_logprobs", [0, 1, 5, 20])
@pytest.mark.parametrize("vocab_size", [21, 1000, 49152])
def test_logprobs_are_of_the_untouched_logits(vocab_size: int, num_logprobs: int) -> None:
    logits = random_logits(vocab_size, seed=vocab_size)
    params = SamplingParams(logprobs=num_logprobs, temperature=0.3, top_k=2, logit_bias={3: 100.0})
    result = sample(logits, [state(params, vocab_size)])
    expected = log_softmax(logits[0])
    assert result.token_ids == [3]
    assert result.logprobs[0] == pytest.approx(expected[3], abs=2e-6)
    order = np.lexsort((np.arange(vocab_size), -expected))[:num_logprobs]
    assert [token_id for token_id, _ in result.top[0]] == order.tolist()
    np.testing.assert_allclose([value for _, value in result.top[0]], expected[order], atol=2e-6)


def test_alternatives_of_equal_logits_come_by_id() -> None:
    result = sample(np.zeros((1, 90), np.float32), [state(SamplingParams(logprobs=4), 90)])
    assert [token_id for token_id, _ in result.top[0]] == [0, 1, 2, 3]


def test_logprobs_have_a_floor() -> None:
    logits = np.array([[0.0, -np.inf, -30000.0, -5.0]], np.float32)
    params = SamplingParams(logprobs=3, temperature=0)
    for token_id, expected in ((2, -9999.0), (3, -5.0)):
        mask = np.array([[1 << token_id]], np.uint32)
        result = sample(logits, [state(params, 4)], mask=mask)
        assert result.token_ids == [token_id]
        assert result.logprobs[0] == pytest.approx(expected, abs=0.01)


def test_rows_that_ask_for_no_logprobs_get_none() -> None:
    logits = random_logits(50, num_rows=2)
    result = sample(logits, [state(SamplingParams(), 50), state(SamplingParams(logprobs=0), 50)])
    assert result.logprobs[0] is None
    assert result.logprobs[1] is not None
    assert result.top == [(), ()]


# --- limits and errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [31, 32, 33, 200])
@pytest.mark.parametrize("params", [SamplingParams(temperature=0), SamplingParams(), SamplingParams(top_p=0.5)])
def test_only_tokens_of_the_mask_are_chosen(params: SamplingParams, vocab_size: int) -> None:
    rng = np.random.default_rng(vocab_size)
    sampler = state(params, vocab_size)
    for _ in range(50):
        allowed = rng.random(vocab_size) < 0.1
        allowed[rng.integers(vocab_size)] = True
        padded = np.zeros(-(-vocab_size // 32) * 32, np.uint8)
        padded[:vocab_size] = allowed
        mask = np.packbits(padded, bitorder="little").view(np.uint32)[None]
        assert allowed[sample(random_logits(vocab_size), [sampler], mask=mask).token_ids[0]]


def test_stop_tokens_wait_for_min_tokens() -> None:
    logits = np.zeros((1, 10), np.float32)
    logits[0, 7] = 50
    sampler = state(SamplingParams(min_tokens=3), 10, stops=frozenset({7, 12345}))
    tokens = [sample(logits, [sampler]).token_ids[0] for _ in range(5)]
    assert 7 not in tokens[:3]
    assert tokens[3:] == [7, 7]


def test_typical_leaves_out_the_likeliest_where_it_is_too_likely() -> None:
    """A token of 0.6 among many of 0.001: the surprise of both is far from the entropy, that of a middling one near."""
    shares = np.array([0.6, *[0.02] * 10, *[0.0002] * 1000])
    logits = np.log(shares / shares.sum()).astype(np.float32)[None]
    kept = {sample(logits, [state(SamplingParams(typical_p=0.1), 1011, seed=i)]).token_ids[0] for i in range(200)}
    assert kept == set(np.flatnonzero(typical(shares / shares.sum(), 0.1)))
    assert 0 not in kept


def test_the_last_token_of_a_banned_row_is_not_chosen_behind_the_others() -> None:
    logits = np.zeros((1, 64), np.float32)
    logits[0, [7, 8, 9]] = 30, 20, 10
    sampler = state(SamplingParams(temperature=0), 64, banned=((8, 7), (7, 7, 8), (9,)))
    tokens = [sample(logits, [sampler]).token_ids[0] for _ in range(3)]
    assert tokens == [7, 7, 7]  # 8 isn't the likeliest anywhere
    logits[0, 7] = 5
    assert sample(logits, [sampler]).token_ids == [7]  # behind 7, 7 there is no 8, and never a 9
    sampler.append([8])
    assert sample(logits, [sampler]).token_ids == [8]  # behind 8 no 7


def test_drafts_are_checked_with_the_bans_of_their_place() -> None:
    logits = np.zeros((4, 64), np.float32)
    logits[:, 7], logits[:, 8] = 30, 20
    sampler = state(SamplingParams(temperature=0), 64, banned=((7, 7, 7),))
    (run,) = sample_runs(logits, [sampler], [[7, 7, 7]])
    assert [token for token, _, _ in run] == [7, 7, 8]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_leaves_nothing_to_choose_gives_way(temperature: float) -> None:
    def chosen(params: SamplingParams, *, mask: tuple[int, ...] = (), banned: Banned = ()) -> set[int]:
        words = mask_of(*mask)[None] if mask else None
        samplers = [state(params, 64, seed=i, stops=frozenset({5}), banned=banned) for i in range(30)]
        return {sample(np.zeros((1, 64), np.float32), [s], mask=words).token_ids[0] for s in samplers}

    params = SamplingParams(temperature=temperature, allowed_token_ids=(3, 5), min_tokens=9)
    assert chosen(params) == {3}
    assert chosen(params, banned=((3,),)) <= {3, 5}  # bans give way to allowed_token_ids
    assert chosen(params, mask=(5, 6)) == {5}  # and so they do here
    assert chosen(params, mask=(6, 7)) <= {6, 7}  # allowed_token_ids gives way to the mask
    assert chosen(params, mask=(6, 7), banned=((6,),)) == {7}
    assert chosen(params, mask=(6,), banned=((6,),)) == {6}


def mask_of(*allowed: int, vocab_size: int = 64) -> npt.NDArray[np.uint32]:
    bits = np.zeros(vocab_size, np.uint8)
    bits[list(allowed)] = 1
    return np.packbits(bits, bitorder="little").view(np.uint32)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_mask_that_allows_nothing_else_wins_over_bans_and_bias(temperature: float) -> None:
    params = SamplingParams(temperature=temperature, min_tokens=9, logit_bias={7: -100.0, 8: -100.0})
    sampler = state(params, 64, stops=frozenset({7, 9}))
    for allowed, chosen in [((7,), {7}), ((7, 8), {8}), ((7, 9), {9}), ((7, 9, 30), {30})]:
        assert set(sample(random_logits(64), [sampler], mask=mask_of(*allowed)[None]).token_ids) <= chosen
    sampler.append([1] * 9)
    logits = random_logits(64)
    logits[0, 9] = 60
    assert sample(logits, [sampler], mask=mask_of(9, 30)[None]).token_ids == [9]


def test_rows_name_their_masks() -> None:
    states = [state(SamplingParams(), 64, seed=i) for i in range(4)]
    masks = np.stack([mask_of(3), mask_of(5), mask_of(40)])
    logits = random_logits(64, num_rows=4)
    free = sample(logits[1:2], [state(SamplingParams(), 64, seed=1)]).token_ids
    rows = [2, -1, 0, 0]
    assert sample(logits, states, mask=masks, mask_rows=rows).token_ids == [40, *free, 3, 3]
    runs = sample_runs(logits, states[:2], [[40, 3], []], mask=masks, mask_rows=[2, 0, 1, -1])
    assert [token for token, _, _ in runs[0]] == [40, 3, 5]
    for wrong in ([0, 0], [0, 0, 0, 3]):
        with pytest.raises(EngineError):
            sample(logits, states, mask=masks, mask_rows=wrong)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(seed=1),
        SamplingParams(temperature=0.0, repetition_penalty=1.5),
        SamplingParams(presence_penalty=1.0, frequency_penalty=1.9, min_tokens=4),
    ],
)
def test_an_appended_token_counts_as_one_that_was_the_only_one_allowed(params: SamplingParams) -> None:
    appended, masked = (state(params, 64, prompt=(3,), stops=frozenset({5})) for _ in range(2))
    tokens = [20, 21, 20, 5]
    appended.append(tokens)
    for position, token_id in enumerate(tokens):
        sample(random_logits(64, position), [masked], mask=mask_of(token_id)[None])
    assert appended.num_output == masked.num_output == 4
    for seed in range(30):
        logits = random_logits(64, seed, spread=0.5)
        assert sample(logits, [appended]) == sample(logits, [masked])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 100, 299])
def test_unsound_logits_are_an_error_and_advance_nothing(value: float, column: int) -> None:
    logits = random_logits(300, num_rows=3)
    logits[1, column] = value
    states = [state(SamplingParams(), 300, seed=i) for i in range(3)]
    with pytest.raises(EngineError, match="NaN or infinity"):
        sample(logits, states)
    assert [sampler.num_output for sampler in states] == [0, 0, 0]
    assert sample(logits[[0, 2]], [states[0], states[2]]).token_ids


def test_no_allowed_token_is_an_error() -> None:
    logits = random_logits(40)
    with pytest.raises(EngineError, match="no token is allowed"):
        sample(logits, [state(SamplingParams(), 40)], mask=np.zeros((1, 2), np.uint32))
    with pytest.raises(EngineError, match="NaN or infinity"):
        sample(np.full((1, 40), -np.inf, np.float32), [state(SamplingParams(), 40)])


@pytest.mark.parametrize(("name", "value"), [("logit_bias", {100: 1.0}), ("allowed_token_ids", (3, 100))])
def test_tokens_outside_the_vocabulary_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="token 100; the vocabulary has the tokens 0 to 99") as caught:
        state(SamplingParams(**{name: value}), 100)
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("shape", "num_states", "mask_shape"), [((2, 40), 1, None), ((1, 40), 1, (1, 1)), ((1, 40), 1, (2, 2))]
)
def test_shapes_are_checked(shape: tuple[int, int], num_states: int, mask_shape: Any) -> None:
    mask = None if mask_shape is None else np.zeros(mask_shape, np.uint32)
    with pytest.raises(EngineError):
        sample(np.zeros(shape, np.float32), [state(SamplingParams(), 40)] * num_states, mask=mask)


def test_no_rows() -> None:
    assert sample(np.zeros((0, 40), np.float32), []) == SampleResult([], [], [])
