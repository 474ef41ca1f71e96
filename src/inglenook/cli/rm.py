"""inglenook rm"""

from __future__ import annotations

import click

from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import note
from inglenook.config import StoreSettings
from inglenook.settings import Values, home_folder
from inglenook.store.disk import format_bytes
from inglenook.store.store import ModelStore


@click.command(
    cls=SettingsCommand, classes=(StoreSettings,), help="Remove fetched models, named as `inglenook list` names them."
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
def command(models: tuple[str, ...], settings: Values) -> None:
    store = ModelStore(home_folder(settings.build(StoreSettings).home))
    for model in models:
        removed = store.remove_model(model)
        note(f"Removed {removed.reference} ({format_bytes(removed.num_bytes)}).")
