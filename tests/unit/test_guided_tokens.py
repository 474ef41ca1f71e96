"""Guides on the real executor and the real sampler: the tokens are those of the plainest way to obey a guide, and
log-probabilities those of the model, however the request is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import token_probes
from fixtures.drafters import Scripted, eager
from fixtures.guided_reference import TINY_VOCAB_SIZE, Reference, with_logprobs, without_logprobs
from fixtures.guides import HashGuide
from fixtures.token_probes import PROMPT, engine, run
from inglenook.config import SpeculativeSettings
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.plan import MIB
from inglenook.engine.request import EngineRequest
from inglenook.types import SamplingParams

OFF, NGRAM = SpeculativeSettings("none"), SpeculativeSettings("ngram")
PROBES: dict[str, dict[str, Any]] = {
    **token_probes.PROBES,
    "biased": {"temperature": 0.7, "seed": 5, "logit_bias": {17: 3.0, 40: -100.0}, "frequency_penalty": 0.1},
    "stopping": {"temperature": 1.5, "seed": 2, "stop_token_ids": tuple(range(0, 256, 8)), "min_tokens": 12},
}


def guided(name: str, number: int, **params: Any) -> EngineRequest:
    sampling = SamplingParams(**{"max_tokens": 40, **params})
    return EngineRequest(
        name,
        (*PROMPT, number),
        sampling,
        frozenset({1, 2}),
        start_guide=lambda: HashGuide(TINY_VOCAB_SIZE, number, ends=0.02),
        banned=token_probes.BANNED.get(name, ()),
    )


REQUESTS = [guided(name, i, **params) for i, (name, params) in enumerate(PROBES.items())]


@pytest.fixture(scope="module")
def plain() -> Iterator[AsyncEngine]:
    with engine(OFF, enable_prefix_caching=False) as plain:
        yield plain


@pytest.fixture(scope="module")
def expected(plain: AsyncEngine) -> dict[str, tuple[Any, ...]]:
    reference = Reference(plain)
    seeded = [replace(r, sampling=replace(r.sampling, seed=r.sampling.seed or 0)) for r in REQUESTS]
    results = {request.request_id: reference.run(request) for request in seeded}
    assert sum(len(tokens) for tokens, _, _ in results.values()) > 120
    assert {reason for _, reason, _ in results.values()} == {"stop", "length"}
    return results


@pytest.fixture(scope="module")
def expected_logprobs(plain: AsyncEngine, expected: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """From the logits behind the tokens, of which each is as good as a prompt."""
    results = {}
    for name, (tokens, *rest) in expected.items():
        prompt = next(r.prompt_token_ids for r in REQUESTS if r.request_id == name)
        logits = np.concatenate(
            [Reference(plain).logits([*prompt, *tokens[:i]]) for i in range(len(tokens))], dtype=np.float64
        )
        shares = logits - logits.max(axis=1, keepdims=True)
        shares -= np.log(np.exp(shares).sum(axis=1, keepdims=True))
        results[name] = ([shares[i, token] for i, token in enumerate(tokens)], *rest)
    return results


def test_alone(plain: AsyncEngine, expected: dict[str, tuple[Any, ...]]) -> None:
    for request in REQUESTS:
        assert without_logprobs(run(plain, [request])) == {request.request_id: expected[request.request_id]}


def test_beside_each_other_and_unguided_ones(plain: AsyncEngine, expected: dict[str, tuple[Any, ...]]) -> None:
    free = [replace(r, request_id=f"free {r.request_id}", start_guide=None) for r in REQUESTS[:2]]
    alone = {}
    for request in free:
        alone |= run(plain, [request])
    assert without_logprobs(run(plain, [*REQUESTS, *free])) == expected | without_logprobs(alone)


def test_log_probabilities(
    plain: AsyncEngine, expected: dict[str, tuple[Any, ...]], expected_logprobs: dict[str, tuple[Any, ...]]
) -> None:
    results = run(plain, with_logprobs(REQUESTS))
    assert without_logprobs(results) == expected
    for name, (tokens, *_) in results.items():
        np.testing.assert_allclose([t.logprob for t in tokens], expected_logprobs[name][0], atol=1e-3)
        assert all(len(t.top) == 2 for t in tokens)


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"max_num_batched_tokens": 9},
        {"kv_cache_memory_bytes": MIB // 32, "enable_prefix_caching": False},
        {"kv_cache_memory_bytes": MIB // 32},
        {"max_num_seqs": 1},
        {"threads": 1},
    ],
    ids=str,
)
def test_chunked_preempted_cached(
    expected: dict[str, tuple[Any, ...]], settings: dict[str, Any], logprobs: bool
) -> None:
    requests = with_logprobs(REQUESTS) if logprobs else REQUESTS
    with engine(OFF, **settings) as other:
        for _ in range(2):  # the second time with the prompts in the cache
            assert without_logprobs(run(other, requests)) == expected
        stats = other.stats()
        assert (stats.num_preemptions > 0) == ("kv_cache_memory_bytes" in settings)


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("accuracy", [0.0, 0.7, 1.0])
def test_speculated(expected: dict[str, tuple[Any, ...]], accuracy: float, logprobs: bool) -> None:
    scripts = {name: list(tokens) for name, (tokens, _, _) in expected.items()}
    requests = with_logprobs(REQUESTS) if logprobs else REQUESTS
    with engine(NGRAM) as speculative:
        drafter = Scripted(scripts, accuracy)
        speculative._engine.scheduler.speculator = eager(drafter, max_rows=16, max_draft_tokens=7)
        for request in requests:
            assert without_logprobs(run(speculative, [request])) == {request.request_id: expected[request.request_id]}
        assert without_logprobs(run(speculative, requests)) == expected
        stats = speculative.stats()
        if accuracy == 1.0:
            assert stats.num_accepted_tokens == stats.num_draft_tokens > 20


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.0, 0.05, 0.9]),
    forces=st.sampled_from([0.0, 0.5, 0.95]),
    max_tokens=st.integers(1, 30),
    params=st.sampled_from(list(PROBES.values())),
    logprobs=st.sampled_from([None, 1]),
)
def test_any_guide(
    plain: AsyncEngine,
    seed: int,
    share: float,
    forces: float,
    max_tokens: int,
    params: dict[str, Any],
    logprobs: int | None,
) -> None:
    request = guided("any", seed % 250, **{**params, "seed": seed, "max_tokens": max_tokens, "min_tokens": 0})
    request = replace(
        request,
        start_guide=lambda: HashGuide(TINY_VOCAB_SIZE, seed, share=share, forces=forces, ends=0.05),
        sampling=replace(request.sampling, logprobs=logprobs),
    )
    assert without_logprobs(run(plain, [request])) == {"any": Reference(plain).run(request)}
