"""inglenook pull"""

from __future__ import annotations

import click

from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import make_progress
from inglenook.config import ModelSettings, StoreSettings
from inglenook.settings import Values, home_folder
from inglenook.store.store import ModelStore


@click.command(
    cls=SettingsCommand,
    classes=(StoreSettings,),
    help="Fetch MODEL into the store, and print where it is. Without MODEL: the default model.",
)
@click.argument("model", default=ModelSettings().model)
def command(model: str, settings: Values) -> None:
    store = ModelStore(home_folder(settings.build(StoreSettings).home))
    files = store.resolve(model, progress=make_progress())
    print(files.path or f"{files.name} has no files: its weights are random.")
