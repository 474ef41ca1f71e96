"""inglenook bench"""

from __future__ import annotations

from pathlib import Path

import click

from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import make_progress, note
from inglenook.config import DEFAULT_MODEL, EngineSettings, StoreSettings, resolve
from inglenook.settings import Values, home_folder
from inglenook.store.store import ModelStore

DEFAULT_MODELS = (DEFAULT_MODEL, "dummy:1b")


@click.command(
    cls=SettingsCommand,
    classes=(EngineSettings, StoreSettings),
    help="Measure the limits of this machine, then prefill and decode of each MODEL as shares of them.",
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--json", "json_file", metavar="FILE", type=Path, help="Write the figures to FILE as well.")
def command(models: tuple[str, ...], json_file: Path | None, settings: Values) -> None:
    from inglenook.bench.report import HEADER, limit_lines, machine, row_line, write_json
    from inglenook.bench.run import bench_model
    from inglenook.ops.native import default_isa
    from inglenook.ops.probes import measure_limits

    engine = resolve(settings.build(EngineSettings))
    assert engine.threads is not None
    store = ModelStore(home_folder(settings.build(StoreSettings).home))
    files = [store.resolve(model, progress=make_progress()) for model in models or DEFAULT_MODELS]
    about = machine(engine.threads, engine.isa or default_isa())
    note(f"{about['processor']}, {engine.threads} threads, {about['isa']}; measuring its limits ...")
    limits = measure_limits(engine.threads)
    print("\n".join(limit_lines(limits)) + f"\n\n{HEADER}", flush=True)
    rows = []
    for model in files:
        for row in bench_model(model.path, model.name, engine, limits):
            rows.append(row)
            print(row_line(row), flush=True)
    if json_file is not None:
        write_json(json_file, about, limits, rows)
