"""Which workloads run on which models, and running them: limits are measured before and after each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from inglenook.bench.rows import Figure, Row, against_other_isa, make_row
from inglenook.bench.subject import MIN_RUNS, Subject
from inglenook.bench.targets import TARGETS
from inglenook.bench.workload import Workload
from inglenook.bench.workloads import STANDARD, WORKLOADS
from inglenook.config import EngineSettings, Isa, ModelSettings
from inglenook.errors import ConfigError
from inglenook.ops.probes import Limits
from inglenook.store.store import ModelFiles


@dataclass(frozen=True)
class Job:
    """One model with one instruction set, and what is measured on it."""

    model: str
    isa: Isa
    works: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """The rows of a job, with the limits that their shares are of."""

    job: Job
    limits: Limits
    rows: tuple[Row, ...]


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
) -> Iterator[Section]:
    """The sections as they are ready. Raises what load_engine raises.

    Neighbours on the machine come and go: the larger of the limits before and after a job counts.
    """
    rows: list[Row] = []
    before = measure_limits()
    for job in jobs:
        found = files(job.model)
        measured: list[tuple[str, str, Figure]] = []
        for works in _by_settings(job.works):
            subject = _subject(found, works[0], replace(engine, isa=job.isa), min_runs)
            try:
                for work in works:
                    figure = work.measure(subject)
                    measured.append((work.name, subject.format, figure))
            finally:
                subject.close()
        after = measure_limits()
        limits = larger(before, after)
        before = after
        targets = TARGETS.get((job.model, job.isa), {})
        section = []
        for name, format, figure in measured:
            row = make_row(job.model, format, job.isa, name, figure, limits, targets.get(name))
            section.append(against_other_isa(row, rows))
        rows += section
        yield Section(job, limits, tuple(section))


def larger(one: Limits, other: Limits) -> Limits:
    """Each limit at its best."""
    others = asdict(other)
    return Limits(**{name: max(value, others[name]) for name, value in asdict(one).items()})


def _by_settings(names: Sequence[str]) -> list[list[Workload]]:
    """In the order of WORKLOADS; those that can share an engine together."""
    groups: list[list[Workload]] = []
    for work in (work for name, work in WORKLOADS.items() if name in names):
        group = next((g for g in groups if (g[0].model, g[0].engine) == (work.model, work.engine)), None)
        if group is None:
            groups.append(group := [])
        group.append(work)
    return groups


def _subject(found: ModelFiles, work: Workload, engine: EngineSettings, min_runs: int) -> Subject:
    model = replace(ModelSettings(model=found.name), **work.model)
    return Subject(found.path, model, replace(engine, **work.engine), min_runs=min_runs)
