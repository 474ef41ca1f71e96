"""An engine in a process of its own: one line of JSON asks for a piece of work, one line answers with its rate."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from peers.base import PeerError, Work


class Worker:
    """Runs one of the scripts beside this file: SCRIPT MODEL THREADS."""

    def __init__(self, name: str, version: str, command: Sequence[str], model: Path, threads: int) -> None:
        self.name = name
        self.version = version
        self._process = subprocess.Popen(
            [*command, str(model), str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()  # it is ready

    def measure(self, work: Work) -> float:
        assert self._process.stdin is not None
        try:
            print(json.dumps(asdict(work)), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise PeerError(f"{self.name} has ended.") from None
        return self._read()

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may have ended by itself
            self._process.stdin.close()
        self._process.wait()

    def _read(self) -> float:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # an engine may print lines of its own
            if line.startswith('{"tokens_per_s"'):
                return float(json.loads(line)["tokens_per_s"])
        raise PeerError(f"{self.name} has ended with {self._process.wait()}; see what it printed above.")
