"""Answers that end by their lines: by how they begin, and by the time they take."""

from __future__ import annotations

import pytest

from inglenook.text.lines import LineLimits


def cut(text: str, min_indent: int, size: int) -> tuple[str, bool]:
    limits = LineLimits(min_indent, None)
    kept = ""
    for start in range(0, len(text), size):
        kept += limits.take(text[start : start + size])
        if limits.is_over:
            break
    return kept, limits.is_over


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("text", "min_indent", "kept", "is_over"),
    [
        ("x = 1\n    y\nz", 4, "x = 1\n    y\n", True),
        ("x = 1\n    y\nz", 0, "x = 1\n    y\nz", False),
        ("x\n  y", 4, "x\n  ", True),
        ("x\n\t\ty", 2, "x\n\t\ty", False),
        ("x\n    y\n\n    z", 4, "x\n    y\n", True),
        ("no line break", 4, "no line break", False),
        ("x\n    ", 4, "x\n    ", False),
        ("x\n ", 4, "x\n ", False),
    ],
)
def test_indentation(text: str, min_indent: int, kept: str, is_over: bool, size: int) -> None:
    assert cut(text, min_indent, size) == (kept, is_over)


def test_time_counts_once_there_is_a_line_break() -> None:
    now = 0.0
    limits = LineLimits(0, 1.0, clock=lambda: now)
    limits.start()
    now = 5.0
    limits.start()
    assert limits.take("a long line") == "a long line" and not limits.is_over
    assert limits.take(" ends\nhere") == " ends\nhere" and limits.is_over
    limits = LineLimits(0, 1.0, clock=lambda: now)
    limits.start()
    now += 0.5
    limits.take("\n")
    assert not limits.is_over
