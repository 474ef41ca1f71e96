"""What commands share in printing: aligned rows, and the progress of a fetch."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from inglenook.store.disk import format_bytes
from inglenook.store.progress import Progress

if TYPE_CHECKING:
    import rich.progress

_NUM_STEPS = 5  # lines printed on the way where no bar can be drawn


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Label and value, aligned, on stdout at once, whoever reads it."""
    for label, value in rows:
        print(f"  {label:<18} {value}", flush=True)


def note(text: str) -> None:
    """A line for people, on stderr: stdout is for results."""
    print(text, file=sys.stderr, flush=True)


def make_progress() -> Progress:
    """A bar on stderr where that is a terminal, lines otherwise."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class BarProgress:
    """A bar with speed and remaining time."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None

    def start(self, description: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task(description, total=total)

    def advance(self, num_bytes: int) -> None:
        assert self._bar is not None and self._task is not None
        self._bar.update(self._task, advance=num_bytes)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def note(self, text: str) -> None:
        note(text)


class LineProgress:
    """A line at the start and at every fifth of the way."""

    def __init__(self) -> None:
        self._description = ""
        self._total: int | None = None
        self._done = 0
        self._told = 0

    def start(self, description: str, total: int | None) -> None:
        self._description, self._total, self._done, self._told = description, total, 0, 0
        note(f"{description} ({format_bytes(total)})" if total else description)

    def advance(self, num_bytes: int) -> None:
        self._done += num_bytes
        if self._total and (step := self._done * _NUM_STEPS // self._total) > self._told:
            self._told = step
            note(f"{self._description}: {self._done / self._total:.0%}")

    def finish(self) -> None:
        pass

    def note(self, text: str) -> None:
        note(text)
