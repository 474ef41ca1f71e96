"""Guides on the real executor and the real sampler: the tokens are those of the plainest way to obey a guide, and
log-probabilities those of the model, however the request is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import token_probes
from fixtures.drafters import Scripted, eager
from fixtures.guides import HashGuide
from fixtures.steps import PagedSequences, run_in_chunks
from fixtures.token_probes import PROMPT, engine, run
from inglenook.config import SpeculativeSettings
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.model_runner import ModelRunner
from inglenook.engine.plan import MIB
from inglenook.engine.request import EngineRequest
from inglenook.ops.program import CacheSpec
from inglenook.ops.sampling import SamplerState, sample
from inglenook.types import SamplingParams

VOCAB_SIZE = 256
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
        start_guide=lambda: HashGuide(VOCAB_SIZE, number, ends=0.02),
    )


REQUESTS = [guided(name, i, **params) for i, (name, params) in enumerate(PROBES.items())]


def without_logprobs(results: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {name: (tuple(t.token_id for t in tokens), *rest) for name, (tokens, *rest) in results.items()}


def with_logprobs(requests: SequenceOf[EngineRequest]) -> list[EngineRequest]:
    return [replace(r, sampling=replace(r.sampling, logprobs=2)) for r in requests]


class Reference:
    """A token at a time: all logits of the sequence again, a mask, a sample; what is forced is put behind."""

    def __init__(self, idle: AsyncEngine) -> None:
        runner = idle._engine._runner
        assert isinstance(runner, ModelRunner)
        self.executor = runner.executor
        self.cache = CacheSpec(idle._engine.scheduler.pool.num_blocks, 16, "bf16")

    def run(self, request: EngineRequest) -> tuple[Any, ...]:
        sampling = request.sampling
        stops = request.eos_token_ids | set(sampling.stop_token_ids)
        assert request.start_guide is not None and sampling.max_tokens is not None and sampling.seed is not None
        guide = request.start_guide()
        state = SamplerState(
            sampling,
            vocab_size=VOCAB_SIZE,
            seed=sampling.seed,
            prompt_token_ids=request.prompt_token_ids,
            stop_token_ids=stops,
        )
        output: list[int] = []
        if guide.is_finished:
            return (), "stop", None
        while len(output) < sampling.max_tokens:
            forced = guide.forced()
            if forced:
                output.append(forced[0])
                state.append(forced[:1])
            else:
                mask = np.zeros((1, VOCAB_SIZE // 32), np.uint32)
                guide.fill_mask(mask[0])
                output += sample(self.logits([*request.prompt_token_ids, *output]), [state], mask=mask).token_ids
            if output[-1] in stops:
                return tuple(output), "stop", output[-1]
            guide.accept(output[-1:])
            if guide.is_finished:
                return tuple(output), "stop", None
        return tuple(output), "length", None

    def logits(self, tokens: list[int]) -> np.ndarray:
        sequences = PagedSequences(self.cache, 1, len(tokens))
        chunks = [8] * -(-len(tokens) // 8)  # no more rows are selected than the engine's steps have
        return run_in_chunks(self.executor, sequences, [tokens], [chunks])[0][-1:]


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
        start_guide=lambda: HashGuide(VOCAB_SIZE, seed, share=share, forces=forces, ends=0.05),
        sampling=replace(request.sampling, logprobs=logprobs),
    )
    assert without_logprobs(run(plain, [request])) == {"any": Reference(plain).run(request)}
