"""inglenook bench"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import cast

import click

from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import make_progress, note
from inglenook.config import EngineSettings, Isa, StoreSettings, resolve
from inglenook.settings import Values, home_folder
from inglenook.store.store import ModelStore


@click.command(
    cls=SettingsCommand,
    classes=(EngineSettings, StoreSettings),
    help="Measure prefill and decode of each MODEL as shares of what this machine allows. Without a MODEL: everything "
    "that has a target. Random weights: dummy:1b, dummy:1b-bf16, dummy:1b-q5_k and so on.",
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--only", metavar="WORK,...", help="Measure these works only, such as decode-1,prefill-512.")
@click.option("--long", "is_long", is_flag=True, help="Also what takes half a minute or more.")
@click.option("--runs", type=click.IntRange(min=1), default=5, help="Runs of each work, at least.  [default: 5]")
@click.option("--profile", "is_profiled", is_flag=True, help="Print where the time of a step goes, below each figure.")
@click.option("--json", "json_file", metavar="FILE", type=Path, help="Write the figures to FILE as well.")
def command(
    models: tuple[str, ...],
    only: str | None,
    is_long: bool,
    runs: int,
    is_profiled: bool,
    json_file: Path | None,
    settings: Values,
) -> None:
    from inglenook.bench import machine, report
    from inglenook.bench.rows import Row
    from inglenook.bench.run import choose_jobs, run_jobs
    from inglenook.ops.native import available_isas, default_isa
    from inglenook.ops.probes import measure_limits

    engine = resolve(settings.build(EngineSettings))
    assert engine.threads is not None
    isa = cast(Isa, engine.isa or default_isa())
    works = [work.strip() for work in only.split(",")] if only else []
    isas = available_isas() if engine.isa is None else [engine.isa]
    jobs = choose_jobs(models, works, isas=isas, default_isa=isa, is_long=is_long)
    store = ModelStore(home_folder(settings.build(StoreSettings).home))
    files = functools.cache(functools.partial(store.resolve, progress=make_progress()))
    about = machine.machine(engine.threads, isa)
    occasion = machine.occasion()
    note(f"{about['processor']}, {engine.threads} threads; each figure is the median of {runs} runs or more ...")
    limits = functools.partial(measure_limits, engine.threads, seconds=0.4)
    measured = run_jobs(jobs, files, engine, limits, min_runs=runs, is_profiled=is_profiled)
    rows: list[Row] = []
    for job, group in itertools.groupby(measured, key=lambda measurement: measurement.job):
        print(f"\n{job.model}, {job.isa}\n{report.HEADER}", flush=True)
        job_rows = []
        for measurement in group:
            print("\n".join([report.row_line(measurement.row), *measurement.profile]), flush=True)
            job_rows.append(measurement.row)
        print(report.limit_line(job_rows), flush=True)
        rows += job_rows
    if json_file is not None:
        report.write_json(json_file, about, occasion, rows)
