"""Computes a step: hands its arrays to the executor, and the logits to the sampler."""

from __future__ import annotations

import random
from itertools import starmap

import numpy as np
import numpy.typing as npt

from inglenook.engine.batch import ScheduledStep, build_step_input
from inglenook.engine.masks import MaskFiller, StepMasks
from inglenook.engine.prompt_scores import score_prompts
from inglenook.engine.request import SampledToken
from inglenook.engine.sequence import Sequence
from inglenook.errors import EngineError
from inglenook.ops.executor import Executor
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
        self._masks = MaskFiller(vocab_size)

    def prepare(self, sequence: Sequence) -> None:
        request = sequence.request
        seed = request.sampling.seed
        sequence.sampler = SamplerState(
            request.sampling,
            vocab_size=self._vocab_size,
            seed=self._seeds.getrandbits(63) if seed is None else seed,
            prompt_token_ids=request.prompt_token_ids,
            stop_token_ids=sequence.stop_token_ids,
            banned=request.banned,
        )

    def run(self, step: ScheduledStep) -> list[tuple[SampledToken, ...] | EngineError]:
        if step.copies:
            self.executor.copy_blocks(step.copies)
        step_input = build_step_input(step)
        masks = None
        is_guided = self._masks.start(step)
        try:
            # [len(step.sampled), all drafts and scored rows; vocab_size]
            logits = self.executor.run(step_input)
        finally:
            if is_guided:
                masks = self._masks.finish()
        if step.num_scored > 0:
            logits = score_prompts(step, logits, self._pool)
        states = [_sampler(sequence) for sequence in step.sampled]
        if masks is None:
            return self._sample_all(logits, states, step.drafts, None)
        for sequence in step.sampled:
            if sequence.guide is not None:
                _take_in_forced(sequence)
        results = self._sample_all(logits, states, step.drafts, masks)
        for index, error in masks.errors.items():
            results[index] = error
        return results

    def close(self) -> None:
        self._masks.close()
        self.executor.close()

    def _sample_all(
        self,
        logits: npt.NDArray[np.float32],
        states: list[SamplerState],
        drafts: list[tuple[int, ...]] | None,
        masks: StepMasks | None,
    ) -> list[tuple[SampledToken, ...] | EngineError]:
        mask, rows = (None, None) if masks is None else (masks.masks, masks.rows)
        if drafts is not None:
            runs = sample_runs(logits, states, drafts, self._pool, mask=mask, mask_rows=rows)
            return [run if isinstance(run, EngineError) else tuple(starmap(SampledToken, run)) for run in runs]
        if not states:
            return []
        try:
            result = sample(logits, states, self._pool, mask=mask, mask_rows=rows)
            return list(zip(map(SampledToken, result.token_ids, result.logprobs, result.top), strict=True))
        except EngineError:
            # Some row has no sound distribution. No state has advanced, so that the others can be sampled without it.
            return self._sample_all(logits, states, [()] * len(states), masks)


def _take_in_forced(sequence: Sequence) -> None:
    """Tell the sampler of the output tokens that it hasn't chosen."""
    state = _sampler(sequence)
    state.append(sequence.token_ids[len(sequence.request.prompt_token_ids) + state.num_output :])


def _sampler(sequence: Sequence) -> SamplerState:
    assert sequence.sampler is not None, "prepare() comes before the first step"
    return sequence.sampler
