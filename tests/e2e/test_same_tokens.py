"""The same request gives the same tokens, bit for bit, whatever else happens: the product's key promise.

Runs the default model. Each case asks for the probes in other circumstances and compares tokens and
log-probabilities with those of a plain run: one request at a time, no prefix cache, one thread, whole prompts, no
drafts.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fixtures.drafters import made_eager
from inglenook import LLM, Completion

PASSAGE = "The lighthouse keeper wrote down the weather, the ships and the state of the lamp every evening. " * 9

PROBES: list[dict[str, Any]] = [
    {"prompts": "The capital of France is", "temperature": 0.0},
    {"prompts": PASSAGE + "In the morning", "temperature": 0.0},
    {"prompts": PASSAGE + "One day a", "temperature": 0.9, "seed": 7, "top_p": 0.95, "top_k": 50},
    {"prompts": "def fibonacci(n):", "temperature": 1.3, "seed": -3, "min_p": 0.02, "repetition_penalty": 1.1},
    {"prompts": "Once upon a time", "temperature": 0.8, "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0.3},
]
COMMON = {"max_tokens": 40, "ignore_eos": True, "logprobs": 3}
PLAIN = {
    "threads": 1,
    "enable_prefix_caching": False,
    "max_num_batched_tokens": 1024,
    "max_model_len": 1024,
    "speculative_config": "off",
}


def ask(llm: LLM, probe: dict[str, Any]) -> Completion:
    return llm.generate(**COMMON, **probe)[0]


def outcome(completion: Completion) -> tuple[Any, ...]:
    return completion.text, completion.token_ids, completion.logprobs


@pytest.fixture(scope="module")
def expected(default_model: str) -> list[tuple[Any, ...]]:
    with LLM(default_model, **PLAIN) as llm:
        return [outcome(ask(llm, probe)) for probe in PROBES]


@pytest.fixture
def make_llm(default_model: str) -> Iterator[Any]:
    opened: list[LLM] = []

    def make(**settings: Any) -> LLM:
        opened.append(LLM(default_model, **{**PLAIN, **settings}))
        return opened[-1]

    yield make
    for llm in opened:
        llm.close()


def test_tokens_are_the_models(expected: list[tuple[Any, ...]]) -> None:
    """The comparison would be empty if nothing were generated."""
    assert "Paris" in expected[0][0]
    assert all(len(token_ids) == 40 and len(logprobs) == 40 for _, token_ids, logprobs in expected)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads(make_llm: Any, expected: list[tuple[Any, ...]], threads: int) -> None:
    llm = make_llm(threads=threads)
    assert [outcome(ask(llm, probe)) for probe in PROBES] == expected


@pytest.mark.parametrize("chunk", [7, 32, 100])
def test_chunked_prompts(make_llm: Any, expected: list[tuple[Any, ...]], chunk: int) -> None:
    llm = make_llm(max_num_batched_tokens=chunk, max_num_seqs=4, threads=2)
    assert [outcome(ask(llm, probe)) for probe in PROBES] == expected


def test_cached_prefix(make_llm: Any, expected: list[tuple[Any, ...]]) -> None:
    llm = make_llm(enable_prefix_caching=True, threads=2)
    first = [ask(llm, probe) for probe in PROBES]
    second = [ask(llm, probe) for probe in PROBES]
    assert [outcome(c) for c in first] == expected
    assert [outcome(c) for c in second] == expected
    assert all(c.usage.cached_tokens == c.usage.prompt_tokens - 1 for c in second)


def test_among_others(make_llm: Any, expected: list[tuple[Any, ...]]) -> None:
    llm = make_llm(threads=2, max_num_seqs=32, max_num_batched_tokens=256, enable_prefix_caching=True)
    crowd = [
        {"prompts": f"{PASSAGE[: 40 * i]} {i}", "temperature": 1.0, "seed": i, "max_tokens": 10 + 2 * i}
        for i in range(32 - len(PROBES))
    ]
    with ThreadPoolExecutor(32) as pool:
        neighbours = [pool.submit(llm.generate, **params) for params in crowd]
        probes = [pool.submit(ask, llm, probe) for probe in PROBES]
        assert [outcome(p.result()) for p in probes] == expected
        assert all(n.result()[0].finish_reason for n in neighbours)


def test_after_preemption(make_llm: Any, expected: list[tuple[Any, ...]], default_model: str) -> None:
    # A cache that holds one long probe and a little more, so that sequences push each other out.
    llm = make_llm(threads=2, max_model_len=320, kv_cache_memory_bytes=12 * 2**20, max_num_seqs=16)
    num_preemptions = 0
    for _ in range(10):  # in which order they come, and so who is in whose way, differs
        with ThreadPoolExecutor(16) as pool:
            runs = [pool.submit(ask, llm, probe) for _ in range(3) for probe in PROBES]
            assert [outcome(r.result()) for r in runs] == expected * 3
        num_preemptions = llm.stats().counters["num_preemptions_total"]
        if num_preemptions > 0:
            break
    assert num_preemptions > 0


def test_drafted_by_a_model(make_llm: Any, expected: list[tuple[Any, ...]], default_model: str) -> None:
    """By itself: the greedy ones are all right, the others often."""
    speculation = {"model": default_model, "num_speculative_tokens": 4}
    llm = make_llm(threads=2, speculative_config=speculation, enable_prefix_caching=True)
    made_eager(llm._backend.engine._engine.scheduler.speculator)  # by the clock it wouldn't pay
    for _ in range(2):
        assert [outcome(ask(llm, probe)) for probe in PROBES] == expected
    with ThreadPoolExecutor(16) as pool:
        runs = [pool.submit(ask, llm, probe) for probe in PROBES]
        assert [outcome(r.result()) for r in runs] == expected
    counters = llm.stats().counters
    assert counters["spec_decode_num_accepted_tokens_total"] > 200
    ask(llm, {"prompts": "A list of colours:", "temperature": 0.0})
    after = llm.stats().counters
    names = ("spec_decode_num_accepted_tokens_total", "spec_decode_num_draft_tokens_total")
    num_accepted, num_drafted = (after[name] - counters[name] for name in names)
    assert num_accepted == num_drafted > 20


@pytest.mark.parametrize("num_draft_tokens", [1, 4, 15])
def test_speculated(make_llm: Any, expected: list[tuple[Any, ...]], num_draft_tokens: int) -> None:
    speculation = {"method": "ngram", "num_speculative_tokens": num_draft_tokens}
    llm = make_llm(threads=2, speculative_config=speculation, enable_prefix_caching=True)
    made_eager(llm._backend.engine._engine.scheduler.speculator)
    assert [outcome(ask(llm, probe)) for probe in PROBES] == expected
    with ThreadPoolExecutor(16) as pool:  # all at once, drafted from what they gave before
        runs = [pool.submit(ask, llm, probe) for probe in PROBES]
        assert [outcome(r.result()) for r in runs] == expected
    counters = llm.stats().counters
    assert counters["spec_decode_num_accepted_tokens_total"] > 20
    assert counters["generation_tokens_total"] == 40 * 2 * len(PROBES)
