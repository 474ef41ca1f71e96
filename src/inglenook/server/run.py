"""Running the app: the port, the signals, and an end that lets answers finish. The only place that imports uvicorn."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import cast

import uvicorn
from starlette.applications import Starlette

from inglenook.config import ServerSettings
from inglenook.errors import ConfigError, UnavailableError
from inglenook.server.state import ServerState

_log = logging.getLogger(__name__)

_LAST_WORDS_S = 2  # for answers that were cut off to reach their clients
_KEEP_ALIVE_S = 75  # longer than the idle time of common clients' pools, so that it isn't us who close first
_BACKLOG = 2048
_MAX_FILES = 65536


def bind(settings: ServerSettings) -> socket.socket:
    """Take the port, before the model is loaded; nobody can connect until `run` listens. Port 0 takes a free one.

    Raises ConfigError where the port or the address can't be had.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ConfigError(f"The host {host!r} isn't an address of this machine. Give another --host.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(error, host, port) from error
    return listener


def run(
    app: Starlette,
    settings: ServerSettings,
    *,
    listener: socket.socket | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return: answers that run get shutdown_grace_s to end.

    `on_ready` gets the URL, with the real port, as soon as requests are answered. A second signal ends everything
    at once and raises KeyboardInterrupt. Raises ConfigError where the port is taken.
    """
    _allow_connections()
    if listener is None:
        listener = bind(settings)
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(error, settings.host, settings.port) from error
    config = uvicorn.Config(
        app,
        loop="auto",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_WORDS_S,
    )
    server = _Server(config, settings, cast(ServerState, app.state.inglenook), on_ready)
    server.run([listener])
    if server.force_exit:
        raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """uvicorn's server with our way of ending."""

    def __init__(
        self,
        config: uvicorn.Config,
        settings: ServerSettings,
        state: ServerState,
        on_ready: Callable[[str], None] | None,
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._state = state
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            assert sockets
            self._on_ready(_url(self._settings.host, sockets[0].getsockname()[1]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """New requests are refused at once, running answers get their grace time, then they end with an error."""
        for server in self.servers:
            server.close()
        self._state.router.stop_accepting()
        if self._state.answers:
            _log.info(
                "Stopping: %d running answers get %g s to end; Ctrl-C again ends them now.",
                len(self._state.answers),
                self._settings.shutdown_grace_s,
            )
        deadline = time.monotonic() + self._settings.shutdown_grace_s
        # Three things end the wait, one of them set by a signal handler: not a matter for an event.
        while self._state.answers and time.monotonic() < deadline and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self._state.end_answers(UnavailableError("The server was shut down before the answer was complete."))
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves it out then, and the app's end would be a stack trace
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again at the end; ours counts as handled, so that the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _allow_connections() -> None:
    """Every connection is an open file, and many systems begin with 1024: take what the process may have."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"Port {port} is taken. Give another with --port, or 0 for any free one.", param="port")
    if error.errno == errno.EACCES:
        return ConfigError(f"Port {port} needs more rights. Give one above 1023 with --port.", param="port")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"The host {host!r} isn't an address of this machine. Give another --host.", param="host")
    return ConfigError(f"Can't listen on {host} port {port}: {error.strerror}.", param="port")
