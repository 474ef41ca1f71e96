"""`inglenook bench serve` with real processes: its rows, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.interruptible import interruptible
from fixtures.server_process import Server

COMMAND = [sys.executable, "-m", "inglenook", "bench", "serve"]


def test_rows(default_model: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = [default_model, "--streams", "1,3", "--tokens", "8", "--runs", "1", "--json", str(file)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [(row["route"], row["num_streams"]) for row in rows] == [
        ("completions", 1),
        ("completions", 3),
        ("chat/completions", 1),
        ("chat/completions", 3),
    ]
    assert all(row["rate"] > 0 and row["rate_in_process"] > 0 for row in rows)
    assert [row["target"] is not None for row in rows] == [True, False, True, False]
    assert len(done.stdout.splitlines()) == 2 + len(rows)


def test_a_running_server(server: Server) -> None:
    arguments = ["--url", server.url, "--streams", "2", "--tokens", "4", "--runs", "1", "--route", "chat"]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("chat/completions")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_running(default_model: str, number: int) -> None:
    arguments = [default_model, "--streams", "2", "--tokens", "800", "--runs", "100"]
    with interruptible():
        running = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    assert running.stdout is not None
    assert running.stdout.readline()
    time.sleep(0.5)
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # as a terminal does
    else:
        running.send_signal(number)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert errors.strip() == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_a_model_that_there_is_not() -> None:
    done = subprocess.run([*COMMAND, "/nowhere/model.gguf"], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
