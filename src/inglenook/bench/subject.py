"""What a workload measures: an engine, loaded when first asked for, and the means to put work on it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inglenook.bench.profile import Part, StepClock
from inglenook.bench.work import StepCost, step_cost
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine.engine import Runner
from inglenook.engine.load import LoadedEngine, load_engine
from inglenook.engine.request import EngineRequest
from inglenook.errors import EngineError
from inglenook.ops.executor import Executor
from inglenook.types import SamplingParams

if TYPE_CHECKING:
    from inglenook.engine.model_runner import ModelRunner

MIN_RUNS = 5
MIN_SECONDS = 3.0  # of all runs together: quick ones are repeated more often
MAX_RUNS = 25


class Subject:
    """One model with the settings that some workloads share. Prompts are random tokens, the same in every run of the
    program, so that no prefix is found in the cache unless a workload asks for the same prompt again.
    """

    def __init__(
        self,
        path: Path | None,
        model: ModelSettings,
        engine: EngineSettings,
        *,
        draft_path: Path | None = None,
        min_runs: int = MIN_RUNS,
        is_profiled: bool = False,
    ) -> None:
        self.path = path
        self.draft_path = draft_path
        self.model = model
        self.settings = engine
        self.clock: StepClock | None = None
        self._min_runs = min_runs
        self._is_profiled = is_profiled
        self._num_requests = 0
        self._runner: ModelRunner | None = None

    @functools.cached_property
    def loaded(self) -> LoadedEngine:
        """Raises what load_engine raises."""
        return self.load(self._instrument)

    def load(self, instrument: Callable[[ModelRunner], Runner]) -> LoadedEngine:
        """Another engine of the same settings."""
        return load_engine(self.path, self.model, self.settings, draft_path=self.draft_path, instrument=instrument)

    @functools.cached_property
    def cost(self) -> StepCost:
        plan = self.loaded.plan
        per_token = plan.kv_per_block / plan.block_size
        return step_cost(self.loaded.program, self.loaded.kept_weights, kv_bytes_per_token=per_token)

    @property
    def format(self) -> str:
        """Of the weights; empty where no workload had the model loaded."""
        return self.cost.format if "loaded" in self.__dict__ else ""

    def close(self) -> None:
        if "loaded" in self.__dict__:
            self.loaded.engine.stop()

    def profile(self) -> tuple[int, list[Part]] | None:
        """Number of tokens and parts of the steps since the last warm-up; None where it isn't wanted."""
        return None if self.clock is None else self.clock.parts(self.loaded.program, self.loaded.kept_weights)

    @contextmanager
    def replaced_executor(
        self, replace: Callable[[Executor], Executor], *, of_draft_model: bool = False
    ) -> Iterator[None]:
        """Meanwhile what `replace` makes of the executor computes the steps. Nothing may be running."""
        loaded = self.loaded
        owner = loaded.draft_model if of_draft_model else self._runner
        assert owner is not None
        executor = owner.executor
        owner.executor = replace(executor)
        try:
            yield
        finally:
            owner.executor = executor

    def _instrument(self, runner: ModelRunner) -> Runner:
        self._runner = runner
        if not self._is_profiled:
            return runner
        self.clock = StepClock(runner)
        return self.clock

    def prompt(self, num_tokens: int, seed: int | None = None) -> tuple[int, ...]:
        """Random tokens; the same seed gives the same prompt, None one that hasn't been before."""
        return self.random_tokens(num_tokens, self.loaded.config.vocab_size, seed)

    def random_tokens(self, count: int, vocab_size: int, seed: int | None = None) -> tuple[int, ...]:
        self._num_requests += 1
        random = np.random.default_rng((0, self._num_requests) if seed is None else (1, seed))
        return tuple(random.integers(0, vocab_size, count).tolist())

    def request(self, prompt: tuple[int, ...], max_tokens: int) -> EngineRequest:
        """Greedy, to the full length whatever the tokens are, and without drafts: random models repeat themselves."""
        self._num_requests += 1
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
        return EngineRequest(f"bench-{self._num_requests}", prompt, sampling, is_drafted=False)

    def arrivals(self, requests: Sequence[EngineRequest]) -> list[list[float]]:
        """When each token of each request arrived, s (time.perf_counter)."""
        arrivals: dict[str, list[float]] = {request.request_id: [] for request in requests}
        for output in self.loaded.engine.generate_blocking(requests):
            if output.error is not None:
                raise EngineError(f"A request of the benchmark failed: {output.error}")
            arrivals[output.request_id] += [time.perf_counter()] * len(output.tokens)
        return list(arrivals.values())

    def repeat(self, measure: Callable[[], float], *, max_runs: int = MAX_RUNS) -> tuple[float, ...]:
        """The values of several runs, after one that only warms up."""
        measure()
        if self.clock is not None:
            self.clock.start()
        values: list[float] = []
        begin = time.perf_counter()
        while len(values) < self._min_runs or (
            time.perf_counter() - begin < MIN_SECONDS and len(values) < max(max_runs, self._min_runs)
        ):
            values.append(measure())
        return tuple(values)
