"""inglenook version"""

from __future__ import annotations

import platform

import click

from inglenook import __version__


@click.command(help="Print the version.")
def command() -> None:
    print(f"inglenook {__version__} (Python {platform.python_version()}, {platform.system()} {platform.machine()})")
