"""Which workloads run on which models, and running them with the limits of the machine measured in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from inglenook.bench.profile import profile_lines
from inglenook.bench.rows import Row, against_other_isa, make_row
from inglenook.bench.subject import MIN_RUNS, Subject
from inglenook.bench.targets import TARGETS
from inglenook.bench.workload import Workload
from inglenook.bench.workloads import STANDARD, WORKLOADS
from inglenook.config import EngineSettings, Isa, ModelSettings
from inglenook.errors import ConfigError
from inglenook.ops.probes import Limits
from inglenook.store.store import ModelFiles

MAX_ATTEMPTS = 3  # at a work during which the limits didn't change


@dataclass(frozen=True)
class Job:
    """One model with one instruction set, and what is measured on it."""

    model: str
    isa: Isa
    works: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """A row of a job; with `profile` the lines that say where its time went."""

    job: Job
    row: Row
    profile: tuple[str, ...] = ()


def choose_jobs(
    models: Sequence[str], only: Sequence[str], *, isas: Sequence[str], default_isa: Isa, is_long: bool = False
) -> list[Job]:
    """What to run. Without `models` everything that has a target with one of `isas`; a named model gets the standard
    works. `only` names works, and with it no work is too long. Raises ConfigError for a work that there isn't.
    """
    for name in only:
        if name not in WORKLOADS:
            raise ConfigError(f"There is no work {name!r:.80}; there are {', '.join(WORKLOADS)}.", param="only")
    if models:
        return [Job(model, default_isa, tuple(only or STANDARD)) for model in models]
    jobs = []
    for (model, isa), targets in TARGETS.items():
        works = [name for name in targets if name in only or (not only and (is_long or not WORKLOADS[name].is_long))]
        if works and isa in isas:
            jobs.append(Job(model, isa, tuple(works)))
    if not jobs:
        raise ConfigError(
            f"No model has a target for {', '.join(only) or 'this instruction set'} here; name a model.", param="only"
        )
    return jobs


def run_jobs(
    jobs: Sequence[Job],
    files: Callable[[str], ModelFiles],
    engine: EngineSettings,
    measure_limits: Callable[[], Limits],
    *,
    min_runs: int = MIN_RUNS,
    is_profiled: bool = False,
) -> Iterator[Measurement]:
    """The rows as they are ready. Raises what load_engine raises.

    Neighbours on a machine come and go, so limits are measured between any two works; the larger of those before and
    after a work counts, and where they differ much the work is measured again.
    """
    rows: list[Row] = []
    before = measure_limits()
    for job in jobs:
        found = files(job.model)
        targets = TARGETS.get((job.model, job.isa), {})
        for works in _by_settings(job.works):
            settings = replace(engine, isa=job.isa, **works[0].engine)
            model = replace(ModelSettings(model=found.name), **works[0].model)
            draft_model = settings.speculative_config.model
            draft_path = None if draft_model is None else files(draft_model).path
            subject = Subject(
                found.path, model, settings, draft_path=draft_path, min_runs=min_runs, is_profiled=is_profiled
            )
            try:
                for work in works:
                    for _ in range(1 if work.is_long else MAX_ATTEMPTS):
                        figure = work.measure(subject)
                        profile = subject.profile()
                        after = measure_limits()
                        names = (job.model, subject.format, job.isa, work.name)
                        row = make_row(names, figure, before, after, targets.get(work.name))
                        before = after
                        if row.is_steady:
                            break
                    row = against_other_isa(row, rows)
                    rows.append(row)
                    yield Measurement(job, row, tuple(profile_lines(work.name, *profile)) if profile else ())
            finally:
                subject.close()


def _by_settings(names: Sequence[str]) -> list[list[Workload]]:
    """In the order of WORKLOADS; those that can share an engine together."""
    groups: list[list[Workload]] = []
    for work in (work for name, work in WORKLOADS.items() if name in names):
        group = next((g for g in groups if (g[0].model, g[0].engine) == (work.model, work.engine)), None)
        if group is None:
            groups.append(group := [])
        group.append(work)
    return groups
