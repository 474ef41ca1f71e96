"""Log-probabilities of prompts and the best of several answers, from the request to the deltas."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from fixtures.fake_engine import VOCAB_SIZE, FakeRunner, make_engine, make_request, prompt_scores
from inglenook.backends.generation_config import GenerationConfig
from inglenook.backends.local import LocalBackend
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.batch import ScheduledStep
from inglenook.engine.request import SampledToken
from inglenook.errors import EngineError, InvalidRequestError
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import CompletionRequest, Delta, SamplingParams, TokenLogprob

CONTEXT = 64
PROMPTS = ((1, 2, 3, 4, 5, 6), (7, 8, 9), (5,))


class Runner(FakeRunner):
    """Each sampled token has a log-probability: what its id says, and which sample of its request it is."""

    def run(self, step: ScheduledStep) -> list[tuple[SampledToken, ...] | EngineError]:
        results = super().run(step)
        for index, (sequence, tokens) in enumerate(zip(step.sampled, results, strict=True)):
            if isinstance(tokens, tuple) and sequence.request.sampling.logprobs is not None:
                sample = int(sequence.request.request_id.rsplit("-", 1)[1])
                results[index] = tuple(SampledToken(t.token_id, -((sample * 7) % 5) - 0.5) for t in tokens)
        return results


@pytest.fixture
def backend() -> Iterator[LocalBackend]:
    engine, _ = make_engine(context_length=CONTEXT, max_num_batched_tokens=7)
    engine._runner = Runner(64, 4)
    running = AsyncEngine(engine, max_queue=100)
    tokenizer = Tokenizer.dummy(VOCAB_SIZE)
    neutral = GenerationConfig({}, frozenset())
    yield LocalBackend(running, tokenizer, None, names=["m"], max_model_len=CONTEXT, generation=neutral, root="m")
    running.stop()
    stats = running.stats()
    assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)


def request(num_choices: int = 1, *, echo: bool = False, best_of: int | None = None, **sampling: Any) -> Any:
    params = SamplingParams(**{"max_tokens": 4, **sampling})
    return CompletionRequest("r", "m", params, num_choices, prompts=PROMPTS, echo=echo, best_of=best_of)


async def collect(backend: LocalBackend, asked: CompletionRequest) -> list[Delta]:
    return [delta async for delta in backend.complete(asked)]


def of(deltas: list[Delta], index: int) -> list[Delta]:
    return [delta for delta in deltas if delta.index == index]


def text(deltas: list[Delta], index: int) -> str:
    return "".join(delta.text for delta in of(deltas, index))


def logprobs(deltas: list[Delta], index: int) -> list[TokenLogprob]:
    return list(chain.from_iterable(delta.logprobs for delta in of(deltas, index)))


def expected_scores(prompt: tuple[int, ...]) -> list[float]:
    scores = prompt_scores(make_request("r", list(prompt), prompt_logprobs=0))
    assert scores is not None
    return [score.logprob for score in scores]


@pytest.mark.parametrize("num_choices", [1, 3])
async def test_every_choice_has_its_prompts(backend: LocalBackend, num_choices: int) -> None:
    deltas = await collect(backend, request(num_choices, prompt_logprobs=0))
    for index in range(3 * num_choices):
        prompt = PROMPTS[index // num_choices]
        first, *others = of(deltas, index)
        assert first.prompt is not None and first.prompt.logprobs is not None
        assert all(delta.prompt is None for delta in others)
        assert first.prompt.logprobs[0] is None
        entries = [entry for entry in first.prompt.logprobs[1:] if entry is not None]
        assert [entry.token_id for entry in entries] == list(prompt[1:])
        assert [entry.logprob for entry in entries] == expected_scores(prompt)
        assert all(entry.rank == 1 for entry in entries)
        assert len(text(deltas, index)) == 4
    unasked = await collect(backend, request(num_choices))
    assert [text(unasked, i) for i in range(3)] == [text(deltas, i) for i in range(3)]
    assert all(delta.prompt is None or delta.prompt.logprobs is None for delta in unasked)


async def test_the_prompt_is_computed_once_for_all_choices(backend: LocalBackend) -> None:
    runner = backend.engine._engine._runner
    assert isinstance(runner, Runner)
    asked = CompletionRequest("r", "m", SamplingParams(max_tokens=1, prompt_logprobs=0), 4, prompts=(tuple(range(29)),))
    await collect(backend, asked)
    computed = sum(num_tokens for step in runner.steps for _, _, num_tokens in step)
    assert computed == 29 + 3  # each of the others computes what is behind its last full block


@pytest.mark.parametrize("max_tokens", [0, 4])
@pytest.mark.parametrize("num_choices", [1, 2])
async def test_echo_with_logprobs(backend: LocalBackend, num_choices: int, max_tokens: int) -> None:
    deltas = await collect(backend, request(num_choices, echo=True, logprobs=0, max_tokens=max_tokens))
    for index in range(3 * num_choices):
        prompt = PROMPTS[index // num_choices]
        entries = logprobs(deltas, index)
        assert text(deltas, index).startswith("".join(map(chr, prompt)))
        assert "".join(entry.text for entry in entries) == text(deltas, index)
        assert len(entries) == len(prompt) + max_tokens
        assert math.isnan(entries[0].logprob)
        assert [entry.logprob for entry in entries[1 : len(prompt)]] == expected_scores(prompt)
        assert [delta.finish_reason for delta in of(deltas, index) if delta.finish_reason] == ["length"]
        assert sum(len(delta.token_ids) for delta in of(deltas, index)) == max_tokens


async def test_echo_and_prompt_logprobs_without_logprobs(backend: LocalBackend) -> None:
    deltas = await collect(backend, request(2, echo=True, prompt_logprobs=0))
    first = of(deltas, 1)[0]
    assert first.prompt is not None and first.prompt.logprobs is not None
    assert text(deltas, 1).startswith("".join(map(chr, PROMPTS[0])))
    assert logprobs(deltas, 1) == []


# --- best of ----------------------------------------------------------------------------------------


async def test_the_likeliest_come_first(backend: LocalBackend) -> None:
    every = await collect(backend, request(5, logprobs=0))
    best = await collect(backend, request(2, best_of=5, logprobs=0))
    for deltas in (every, best):
        usage = deltas[-1].usage
        assert usage is not None and (usage.prompt_tokens, usage.completion_tokens) == (10, 60)
    assert {delta.index for delta in best} == set(range(6))
    for prompt in range(3):
        means = [logprobs(every, prompt * 5 + sample)[0].logprob for sample in range(5)]
        order = sorted(range(5), key=lambda sample: -means[sample])
        for place in range(2):
            index = prompt * 2 + place
            assert logprobs(best, index) == logprobs(every, prompt * 5 + order[place])
            assert of(best, index)[-1].mean_logprob == means[order[place]]
            assert of(best, index)[0].prompt is not None


async def test_what_was_not_asked_for_is_not_told(backend: LocalBackend) -> None:
    best = await collect(backend, request(1, best_of=3))
    assert len({delta.index for delta in best}) == 3
    assert not any(delta.logprobs for delta in best)
    assert [delta.usage is not None for delta in best] == [False] * (len(best) - 1) + [True]


@pytest.mark.parametrize("best_of", [1, 129])
async def test_best_of_has_limits(backend: LocalBackend, best_of: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await collect(backend, request(2, best_of=best_of))
    assert caught.value.param == "best_of"
