"""inglenook list"""

from __future__ import annotations

import time

import click

from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import note
from inglenook.config import StoreSettings
from inglenook.settings import Values, home_folder
from inglenook.store.catalogue import CATALOGUE
from inglenook.store.disk import format_bytes
from inglenook.store.store import ModelStore


@click.command(cls=SettingsCommand, classes=(StoreSettings,), help="List the models on this machine.")
def command(settings: Values) -> None:
    home = home_folder(settings.build(StoreSettings).home)
    models = ModelStore(home).list_models()
    if not models:
        note(f"No models in {home}. `inglenook pull NAME` fetches one: {', '.join(CATALOGUE)}.")
        return
    width = max(len(model.reference) for model in models)
    for model in models:
        day = time.strftime("%Y-%m-%d", time.localtime(model.fetched)) if model.is_complete else "incomplete"
        print(f"{model.reference:<{width}}  {format_bytes(model.num_bytes):>9}  {day}")
