"""Logging set-up: one line a record, on stderr, for everything under the logger `inglenook`."""

from __future__ import annotations

import logging
import sys
from typing import Final

FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
TIME_FORMAT: Final = "%H:%M:%S"

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what sys.stderr is when the record comes, so that a redirection is followed."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter(FORMAT, TIME_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(level: str = "info") -> None:
    """Send records of `inglenook` and of uvicorn's errors to stderr; a second call only changes the level.

    `level` is debug, info, warning or error. Libraries stay quiet below warning; uvicorn's access log is off: request
    counts and times are metrics.
    """
    handler = next((h for h in logging.getLogger("inglenook").handlers if isinstance(h, _StderrHandler)), None)
    for name, least in (("inglenook", 0), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        if handler is None:
            handler = _StderrHandler()
        logger.addHandler(handler)  # does nothing where it is there already
        logger.propagate = False
        logger.setLevel(max(LEVELS[level], least))
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    access.disabled = True
