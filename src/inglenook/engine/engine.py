"""The synchronous core: takes requests, computes one step at a time, says what came of it."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Protocol

from inglenook.engine.batch import ScheduledStep
from inglenook.engine.guided import begin
from inglenook.engine.request import EngineOutput, EngineRequest, SampledToken
from inglenook.engine.scheduler import Appended, Scheduler
from inglenook.engine.sequence import Sequence
from inglenook.engine.speculative.speculator import SpeculationCounters
from inglenook.errors import ContextLengthError, EngineError, InvalidRequestError

logger = logging.getLogger(__name__)

MAX_FAILED_STEPS = 3  # in a row; from then on the engine counts as unhealthy, until a step succeeds


class Runner(Protocol):
    """What the engine needs of whatever computes its steps."""

    def prepare(self, sequence: Sequence) -> None:
        """Make what sampling keeps for a sequence. Raises InvalidRequestError where its parameters don't fit."""
        ...

    def run(self, step: ScheduledStep) -> list[tuple[SampledToken, ...] | EngineError]:
        """Compute a step: the next token of each of step.sampled, or several where its drafts are right.

        An exception fails the whole step.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class EngineStats:
    """A snapshot. `num_` fields behind kv_cache_usage are sums since the start."""

    num_running: int
    num_waiting: int
    kv_cache_usage: float  # share of the blocks in use, 0 to 1
    num_steps: int
    num_failed_steps: int
    num_preemptions: int
    num_prompt_tokens: int
    num_generation_tokens: int
    num_prefix_query_tokens: int
    num_prefix_hit_tokens: int
    num_drafts: int
    num_draft_tokens: int
    num_accepted_tokens: int


class Engine:
    """Continuous batching over one model. Not thread-safe, but for `check`, `is_healthy` and `stats`."""

    def __init__(self, runner: Runner, scheduler: Scheduler, *, vocab_size: int) -> None:
        self.scheduler = scheduler
        self.is_healthy = True
        self._runner = runner
        self._vocab_size = vocab_size
        self._ready: list[EngineOutput] = []  # of requests that ended without a step
        self._timed: set[Sequence] = set()  # those with a deadline, and some that have ended
        self._num_steps = 0
        self._num_failed_steps = 0
        self._num_failed_in_a_row = 0
        self._num_prompt_tokens = 0
        self._num_generation_tokens = 0

    def check(self, request: EngineRequest) -> None:
        """Raise InvalidRequestError where the request could never be served. Any thread may call it."""
        prompt = request.prompt_token_ids
        if not prompt:
            raise InvalidRequestError("The prompt has no tokens; it must have at least one.", param="prompt")
        context_length = self.scheduler.context_length
        if len(prompt) > context_length:
            raise ContextLengthError(
                f"The prompt has {len(prompt)} tokens, and the context holds {context_length}. Shorten the prompt.",
                param="prompt",
            )
        if min(prompt) < 0 or max(prompt) >= self._vocab_size:
            raise InvalidRequestError(
                f"The prompt holds a token id outside of the vocabulary, 0 to {self._vocab_size - 1}.", param="prompt"
            )
        sampling = request.sampling
        for name, token_ids in (("logit_bias", sampling.logit_bias), ("allowed_token_ids", sampling.allowed_token_ids)):
            for token_id in token_ids or ():
                if not 0 <= token_id < self._vocab_size:
                    raise InvalidRequestError(
                        f"{name} names token {token_id}; the vocabulary is 0 to {self._vocab_size - 1}.", param=name
                    )

    def add(self, request: EngineRequest) -> None:
        """Take a request in; its outputs come from step(). Raises InvalidRequestError as `check` does, and what
        start_guide raises.
        """
        self.check(request)
        if request.request_id in self.scheduler.sequences:
            raise InvalidRequestError("A request with this id is running already; ids must be unique.")
        if len(request.prompt_token_ids) == self.scheduler.context_length:
            request = replace(request, sampling=replace(request.sampling, max_tokens=0))
        wants_output, wants_scores = request.sampling.max_tokens != 0, request.sampling.prompt_logprobs is not None
        if not wants_output and not (wants_scores and len(request.prompt_token_ids) > 1):
            scores = () if wants_scores else None
            self._ready.append(EngineOutput(request.request_id, finish_reason="length", prompt_scores=scores))
            return
        sequence = self.scheduler.add(request)
        try:
            self._runner.prepare(sequence)
            sequence.held = begin(sequence) if wants_output else []
        except BaseException:
            self.scheduler.remove(sequence)
            raise
        if sequence.finish_reason is not None and sequence.is_scoring:
            sequence.keep_prompt_only()
        elif sequence.finish_reason is not None:  # there is nothing to compute
            self.scheduler.remove(sequence)
            self._ready.append(self._output(sequence, (), Appended(0)))
        elif sequence.deadline < math.inf:
            self._timed.add(sequence)

    def cancel(self, request_id: str) -> None:
        """Free what a request holds; no further output of it comes. An unknown or ended one is left alone."""
        sequence = self.scheduler.sequences.get(request_id)
        if sequence is not None:
            self.scheduler.remove(sequence)
        self._ready = [output for output in self._ready if output.request_id != request_id]

    def has_work(self) -> bool:
        return bool(self._ready or self.scheduler.sequences)

    def step(self) -> list[EngineOutput]:
        """Compute one step; returns what is new, in no particular order of requests.

        A failure of the runner ends the requests of this step with an error, and is logged; it isn't raised.
        """
        outputs, self._ready = self._ready, []
        if self._timed:
            outputs += self._end_late()
        if not self.scheduler.sequences:
            return outputs
        step = self.scheduler.schedule()
        self._num_steps += 1
        started = time.perf_counter()
        try:
            results = self._runner.run(step)
        except Exception:
            logger.exception("A step of %d sequences failed.", len(step.chunks))
            return outputs + self._fail(step)
        self.scheduler.observe(step, time.perf_counter() - started)
        self._num_failed_in_a_row = 0
        self.is_healthy = True
        sampled = step.sampled
        tokens = [[t.token_id for t in r] if isinstance(r, tuple) else [] for r in results]
        appended = self.scheduler.update(step, tokens)
        return outputs + [self._output(s, r, a) for s, r, a in zip(sampled, results, appended, strict=True)]

    def abort_all(self) -> None:
        """Cancel everything."""
        self._ready = []
        self._timed.clear()
        for sequence in list(self.scheduler.sequences.values()):
            self.scheduler.remove(sequence)

    def stats(self) -> EngineStats:
        scheduler = self.scheduler
        speculation = SpeculationCounters() if scheduler.speculator is None else scheduler.speculator.counters
        return EngineStats(
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            kv_cache_usage=scheduler.pool.usage,
            num_steps=self._num_steps,
            num_failed_steps=self._num_failed_steps,
            num_preemptions=scheduler.counters.num_preemptions,
            num_prompt_tokens=self._num_prompt_tokens,
            num_generation_tokens=self._num_generation_tokens,
            num_prefix_query_tokens=scheduler.counters.prefix_query_tokens,
            num_prefix_hit_tokens=scheduler.counters.prefix_hit_tokens,
            num_drafts=speculation.num_drafts,
            num_draft_tokens=speculation.num_draft_tokens,
            num_accepted_tokens=speculation.num_accepted_tokens,
        )

    def close(self) -> None:
        """Cancel everything and free the model."""
        self.abort_all()
        self._runner.close()
        if self.scheduler.speculator is not None:
            self.scheduler.speculator.close()

    def _output(
        self, sequence: Sequence, result: tuple[SampledToken, ...] | EngineError, appended: Appended
    ) -> EngineOutput:
        request = sequence.request
        error = appended.error if isinstance(result, tuple) else result
        if error is not None:
            logger.error("Sampling for request %s failed: %s", request.request_id, error.message)
            return EngineOutput(request.request_id, error=error)
        assert isinstance(result, tuple)
        tokens = result[: appended.num_sampled]
        if appended.forced:
            tokens += tuple(map(SampledToken, appended.forced))
        num_cached_tokens = 0
        scores = None
        if not sequence.has_output:
            sequence.has_output = True
            num_cached_tokens = sequence.num_cached_tokens or 0
            self._num_prompt_tokens += len(request.prompt_token_ids)
            tokens = tuple(map(SampledToken, sequence.held)) + tokens
            if request.sampling.prompt_logprobs is not None and not sequence.is_scoring:
                scores = tuple(sequence.prompt_scores)
            if request.sampling.max_generation_s is not None:
                sequence.deadline = min(sequence.deadline, time.monotonic() + request.sampling.max_generation_s)
                self._timed.add(sequence)
        self._num_generation_tokens += len(tokens)
        return EngineOutput(
            request.request_id,
            tokens,
            sequence.finish_reason,
            sequence.stop_token_id,
            num_cached_tokens,
            sequence.is_loop,
            scores,
        )

    def _end_late(self) -> list[EngineOutput]:
        """End the requests whose time is over with what they have."""
        now = time.monotonic()
        outputs = []
        for sequence in list(self._timed):
            if self.scheduler.sequences.get(sequence.request.request_id) is not sequence:
                self._timed.discard(sequence)
            elif sequence.deadline <= now:
                self._timed.discard(sequence)
                sequence.finish_reason = "length"
                self.scheduler.remove(sequence)
                outputs.append(self._output(sequence, (), Appended(0)))
        return outputs

    def _fail(self, step: ScheduledStep) -> list[EngineOutput]:
        self._num_failed_steps += 1
        self._num_failed_in_a_row += 1
        self.is_healthy = self._num_failed_in_a_row < MAX_FAILED_STEPS
        outputs = []
        for chunk in step.chunks:
            # Whether this step wrote what it should isn't known: nothing of it may be found in the cache.
            self.scheduler.remove(chunk.sequence, forget=True)
            error = EngineError("The engine failed on this request. Try again; the server's log says more.")
            outputs.append(EngineOutput(chunk.sequence.request.request_id, error=error))
        return outputs
