"""Start: from the command to the first answer of the server, with the model's file in the page cache."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.errors import EngineError

TARGET_S = 1.0
NUM_RUNS = 5


def measure(subject: Subject) -> Figure:
    values = tuple(_seconds(subject.model.model) for _ in range(NUM_RUNS + 1))
    return Figure(values[1:], "s", lambda limits: TARGET_S, of="1 second")


def _seconds(model: str) -> float:
    """Of one server: until its health route answers."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "inglenook", "serve", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                url = next((word for word in line.split() if word.startswith("http://")), None)
                if url is not None:
                    with urllib.request.urlopen(f"{url}/health") as answer:
                        answer.read()
                    return time.perf_counter() - begin
            raise EngineError("A server of the benchmark didn't start.")
        finally:
            server.terminate()
            server.wait()


START = Workload("start", measure)
