"""`inglenook serve` as a child process, on a free port of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from inglenook.errors import InglenookError
from inglenook.setting import PREFIX, settings_of

_NUM_KEPT_LINES = 20  # of its output, for the error when it doesn't start
_STOP_TIMEOUT_S = 20.0
_READY = re.compile(r"ready\s+(http://\S+)")


class ServerProcessError(InglenookError):
    """The server didn't start, or ended while it was needed."""


@contextmanager
def server_process(arguments: Sequence[str]) -> Iterator[str]:
    """Start it with these arguments; gives its URL. It is stopped, and waited for, however the block is left."""
    command = [sys.executable, "-m", "inglenook", "serve", *arguments, "--host", "127.0.0.1", "--port", "0"]
    # What the parent's environment and file say is in the arguments already; a key would lock the benchmark out.
    left_out = (f"{PREFIX}API_KEY", f"{PREFIX}CONFIG")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        yield _wait_until_ready(process)
    finally:
        _stop(process)


def as_flags(settings: Sequence[type], values: Mapping[str, Any]) -> list[str]:
    """The command line that gives these values, by field name, to `inglenook serve`."""
    flags = []
    for field in (setting for cls in settings for setting in settings_of(cls).values()):
        value = values.get(field.name)
        if value is None or value == ():
            continue
        if field.kind is bool:
            flags.append(field.flag if value else field.flag.replace("--", "--no-", 1))
        elif field.kind is tuple:
            flags += [word for each in value for word in (field.flag, each)]
        else:
            flags += [field.flag, str(value)]
    return flags


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if found := _READY.search(line):
            # What it says from now on is thrown away, but must be read: a full pipe would stop it.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[1]
    raise ServerProcessError("The server didn't start. It said:\n" + "".join(lines[-_NUM_KEPT_LINES:]).rstrip())


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
