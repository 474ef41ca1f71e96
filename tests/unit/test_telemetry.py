"""One line a record, once, on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from inglenook.telemetry import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("inglenook", "uvicorn", "uvicorn.access")]
    before = [(list(lg.handlers), lg.level, lg.propagate, lg.disabled) for lg in loggers]
    yield
    for logger, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


def test_a_record_is_one_line_however_often_it_was_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        configure_logging("info")
    logging.getLogger("inglenook.engine").info("ready")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "INFO" in output.err
    assert output.err.endswith("inglenook.engine: ready\n")


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")
    logging.getLogger("inglenook.engine").warning("hidden")
    configure_logging("debug")
    logging.getLogger("inglenook.engine").debug("shown")
    logging.getLogger("uvicorn.error").info("hidden")
    logging.getLogger("uvicorn.error").error("shown too")
    logging.getLogger("uvicorn.access").error("hidden")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["shown", "shown too"]
