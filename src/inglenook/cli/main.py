"""The `inglenook` program: finds the command, and turns errors into one line and an exit code.

A command's module is imported only when it is called, so that help and errors come at once. Each has `command`, a
click command.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inglenook.errors import ConfigError, InglenookError

if TYPE_CHECKING:
    import click

COMMANDS = {
    "serve": ("inglenook.cli.serve", "Serve a model over HTTP."),
    "chat": ("inglenook.cli.chat", "Chat in the terminal with a running server."),
    "pull": ("inglenook.cli.pull", "Fetch a model without serving it."),
    "list": ("inglenook.cli.list", "List the models on this machine."),
    "rm": ("inglenook.cli.rm", "Remove a fetched model."),
    "bench": ("inglenook.cli.bench", "Measure speed against the limits of this machine."),
    "bench serve": ("inglenook.cli.bench_serve", "Measure speed through HTTP."),
    "version": ("inglenook.cli.version", "Print the version."),
}

EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry. Exits with 0, 1 for what failed, 2 for wrong usage or settings, 130 after Ctrl-C."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """The exit code of `inglenook ARGUMENTS`."""
    name = arguments[0] if arguments else "--help"
    num_words = 1
    if " ".join(arguments[:2]) in COMMANDS:
        name, num_words = " ".join(arguments[:2]), 2
    if name in ("--help", "-h", "help"):
        print(_help())
        return 0 if arguments else EXIT_USAGE
    if name == "--version":
        name = "version"
    if name not in COMMANDS:
        from inglenook.settings import suggestion

        what = "option" if name.startswith("-") else "command"
        print(f"Error: no such {what}: {name}.{suggestion(name, COMMANDS)}\n\n{_help()}", file=sys.stderr)
        return EXIT_USAGE
    try:
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return _call(command, name, arguments[num_words:])
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; keep the interpreter from flushing into the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _call(command: click.Command, name: str, arguments: list[str]) -> int:
    import click

    try:
        status = command.main(arguments, prog_name=f"inglenook {name}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except InglenookError as error:
        if logging.getLogger("inglenook").isEnabledFor(logging.DEBUG):
            raise
        print(f"Error: {error.message}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILURE
    return status if isinstance(status, int) else 0


def _help() -> str:
    rows = "\n".join(f"  {name:<12} {summary}" for name, (_, summary) in COMMANDS.items())
    return (
        "Usage: inglenook COMMAND [OPTIONS] [ARGUMENTS]\n\n"
        "  One local server for every model an agent talks to.\n\n"
        f"Commands:\n{rows}\n\n"
        "`inglenook COMMAND --help` lists its options. To begin: inglenook serve"
    )
