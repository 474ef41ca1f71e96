"""Computes a step: hands its arrays to the executor, and the logits to the sampler."""

from __future__ import annotations

import random
from itertools import starmap

import numpy as np
import numpy.typing as npt

from inglenook.engine.batch import ScheduledStep, build_step_input
from inglenook.engine.request import SampledToken
from inglenook.engine.sequence import Sequence
from inglenook.errors import EngineError
from inglenook.ops.program import Executor
from inglenook.ops.sampling import SamplerState, ThreadPool, sample, sample_runs


class ModelRunner:
    """Runs steps on an executor. Owns it; not thread-safe.

    `pool` is shared out with the executor: between its steps, its threads sample.
    Requests without a seed get one drawn: from the system, or from a sequence that begins with `seed`.
    """

    def __init__(
        self, executor: Executor, *, vocab_size: int, pool: ThreadPool | None = None, seed: int | None = None
    ) -> None:
        self.executor = executor
        self._vocab_size = vocab_size
        self._pool = pool
        self._seeds = random.SystemRandom() if seed is None else random.Random(seed)

    def prepare(self, sequence: Sequence) -> None:
        request = sequence.request
        seed = request.sampling.seed
        sequence.sampler = SamplerState(
            request.sampling,
            vocab_size=self._vocab_size,
            seed=self._seeds.getrandbits(63) if seed is None else seed,
            prompt_token_ids=request.prompt_token_ids,
            stop_token_ids=sequence.stop_token_ids,
        )

    def run(self, step: ScheduledStep) -> list[tuple[SampledToken, ...] | EngineError]:
        logits = self.executor.run(build_step_input(step))  # [len(step.sampled) and all drafts, vocab_size]
        states = [_sampler(sequence) for sequence in step.sampled]
        drafts = step.drafts
        if drafts is not None:
            runs = sample_runs(logits, states, drafts, self._pool)
            return [run if isinstance(run, EngineError) else tuple(starmap(SampledToken, run)) for run in runs]
        if not states:
            return []
        try:
            return list(self._sample(logits, states))
        except EngineError:
            # Some row has no sound distribution. No state has advanced, so that the others can be sampled alone.
            return [self._sample_alone(logits[i : i + 1], state) for i, state in enumerate(states)]

    def close(self) -> None:
        self.executor.close()

    def _sample(self, logits: npt.NDArray[np.float32], states: list[SamplerState]) -> list[tuple[SampledToken, ...]]:
        result = sample(logits, states, self._pool)
        return list(zip(map(SampledToken, result.token_ids, result.logprobs, result.top), strict=True))

    def _sample_alone(
        self, logits: npt.NDArray[np.float32], state: SamplerState
    ) -> tuple[SampledToken, ...] | EngineError:
        try:
            return self._sample(logits, [state])[0]
        except EngineError as error:
            return error


def _sampler(sequence: Sequence) -> SamplerState:
    assert sequence.sampler is not None, "prepare() comes before the first step"
    return sequence.sampler
