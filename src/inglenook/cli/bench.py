"""inglenook bench"""

from __future__ import annotations

import functools
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
@click.option("--json", "json_file", metavar="FILE", type=Path, help="Write the figures to FILE as well.")
def command(
    models: tuple[str, ...], only: str | None, is_long: bool, runs: int, json_file: Path | None, settings: Values
) -> None:
    from inglenook.bench import machine, report
    from inglenook.bench.rows import Row
    from inglenook.bench.run import choose_jobs, larger, run_jobs
    from inglenook.ops.native import available_isas, default_isa
    from inglenook.ops.probes import Limits, measure_limits

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
    limits: Limits | None = None
    rows: list[Row] = []
    for section in run_jobs(jobs, files, engine, functools.partial(measure_limits, engine.threads), min_runs=runs):
        formats = ", ".join(dict.fromkeys(row.format for row in section.rows))
        print(f"\n{section.job.model}: {formats} weights, {section.job.isa}\n{report.limit_line(section.limits)}")
        print("\n".join([report.HEADER, *map(report.row_line, section.rows)]), flush=True)
        limits = section.limits if limits is None else larger(limits, section.limits)
        rows += section.rows
    if json_file is not None:
        assert limits is not None
        report.write_json(json_file, about, occasion, limits, rows)
