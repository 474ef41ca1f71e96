"""inglenook bench serve"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import make_progress
from inglenook.config import EngineSettings, ModelSettings, ServerSettings, StoreSettings, resolve
from inglenook.settings import Values, gather, home_folder
from inglenook.store.store import ModelStore

if TYPE_CHECKING:
    from inglenook.bench.through_http import InProcess, Row, Server

_CONTEXT = 1024  # tokens, unless --max-model-len is given: room for a prompt and an answer


@click.command(
    cls=SettingsCommand,
    classes=(ModelSettings, EngineSettings, StoreSettings),
    positional="model",
    help="Measure streams through HTTP. A server with MODEL is started for it, and the same requests are run in this "
    "process to compare with; or a running server is measured, of ours or of anyone with OpenAI's API (--url).",
)
@click.option("--url", metavar="URL", help="Measure this server, such as http://127.0.0.1:8000, instead of our own.")
@click.option("--api-key", metavar="KEY", help="Key for the server of --url.  [default: $INGLENOOK_API_KEY]")
@click.option("--streams", metavar="NUMBER,...", default="1,8,32", help="Streams at once.  [default: 1,8,32]")
@click.option("--route", type=click.Choice(["all", "chat", "completions"]), default="all", help="What is asked.")
@click.option("--tokens", type=click.IntRange(min=2), default=96, help="Tokens of each stream.  [default: 96]")
@click.option("--runs", type=click.IntRange(min=1), default=3, help="Runs of each row.  [default: 3]")
@click.option("--json", "json_file", metavar="FILE", type=Path, help="Write the figures to FILE as well.")
def command(
    url: str | None,
    api_key: str | None,
    streams: str,
    route: str,
    tokens: int,
    runs: int,
    json_file: Path | None,
    settings: Values,
) -> None:
    from inglenook.bench import machine
    from inglenook.bench.through_http import ROUTES, measure

    nums_streams = _numbers(streams)
    routes = [name for name in ROUTES if route == "all" or ("chat" in name) == (route == "chat")]
    with _terminable():
        targets = _own_server(settings) if url is None else _other_server(url, api_key, settings)
        with targets as (server, in_process):
            print(f"{server.model} at {server.url}, {tokens} tokens a stream, {runs} runs\n{_HEADER}", flush=True)
            rows = []
            for row in measure(
                server, in_process, routes=routes, nums_streams=nums_streams, num_tokens=tokens, num_runs=runs
            ):
                print(_row_line(row), flush=True)
                rows.append(row)
    if json_file is not None:
        engine = resolve(settings.build(EngineSettings))
        assert engine.threads is not None
        about = machine.machine(engine.threads, engine.isa or "auto")
        document = {"machine": about, **machine.occasion(), "rows": [row.as_dict() for row in rows]}
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _own_server(settings: Values) -> Iterator[tuple[Server, InProcess]]:
    """A server process, and the same model in this process."""
    from inglenook.backends.load_local import load_local_backend
    from inglenook.bench.server_process import as_flags, server_process
    from inglenook.bench.through_http import InProcess, Server

    model, engine = settings.build(ModelSettings), resolve(settings.build(EngineSettings))
    model = replace(model, max_model_len=model.max_model_len or _CONTEXT)
    store, progress = ModelStore(home_folder(settings.build(StoreSettings).home)), make_progress()
    files = store.resolve(model.model, progress=progress)
    draft = store.resolve_draft(engine, progress=progress)
    values = {**settings.values, "model": model.model, "max_model_len": model.max_model_len, "threads": engine.threads}
    with server_process(as_flags((ModelSettings, EngineSettings, StoreSettings), values)) as url:
        backend = load_local_backend(files, model, engine, draft=draft)
        try:
            server = Server(url, backend.models()[0].name)
            yield server, InProcess(backend.engine, lambda request: backend.preparer.prepare(request).engine_requests)
        finally:
            backend.engine.stop()


@contextmanager
def _other_server(url: str, api_key: str | None, settings: Values) -> Iterator[tuple[Server, None]]:
    """A running server; there is nothing to compare it with."""
    from inglenook.bench.through_http import Server
    from inglenook.cli.chat_client import ChatClient

    key = api_key or next(iter(gather((ServerSettings,)).build(ServerSettings).api_key), None)
    client = ChatClient(url, key)
    try:
        yield Server(client.url, settings.values.get("model") or client.first_model(), key), None
    finally:
        client.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that no child process is left behind."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise click.BadParameter(f"{text!r} isn't a list of numbers such as 1,8,32.", param_hint="--streams")
    return numbers


_HEADER = (
    f"{'route':<17}{'streams':>8}{'first p50':>11}{'p99':>7}{'next p50':>10}{'p99':>7} ms"
    f"{'tokens/s':>10}{'in process':>12}{'share':>7}{'target':>8}"
)


def _row_line(row: Row) -> str:
    first, following = row.first_token_s, row.inter_token_s
    line = (
        f"{row.route:<17}{row.num_streams:>8}{first['p50'] * 1e3:>11.1f}{first['p99'] * 1e3:>7.1f}"
        f"{following['p50'] * 1e3:>10.2f}{following['p99'] * 1e3:>7.2f}   {row.rate:>10.1f}"
    )
    if row.rate_in_process is not None and row.share is not None:
        verdict = {True: "met", False: "missed", None: ""}[row.is_met]
        line += f"{row.rate_in_process:>12.1f}{row.share:>7.1%}{row.target or ''!s:>8} {verdict}"
    return line.rstrip()
