"""The benchmark as a table of 80 columns and as JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inglenook.bench.rows import Row, larger

HEADER = f"{'work':<19}{'median':>9} {'unit':<9}{'runs':>5}{'share':>7} {'of':<12}{'target':>8}"


def limit_line(rows: Sequence[Row]) -> str:
    """What the machine allowed while these were measured."""

    def span(values: Sequence[float]) -> str:
        low, high = f"{min(values):.0f}", f"{max(values):.0f}"
        return low if low == high else f"{low} to {high}"

    return (
        f"limits: read {span([row.limits.read_gb_s for row in rows])} GB/s, "
        f"int8 {span([row.limits.int8_gop_s for row in rows])} GOP/s, "
        f"bf16 {span([row.limits.bf16_gflop_s for row in rows])} GFLOP/s"
    )


def row_line(row: Row) -> str:
    share = "?" if row.share is None else f"{'' if row.is_steady else '~'}{row.share:.0%}"
    target = "" if row.target is None else str(row.target)
    verdict = {True: "met", False: "missed", None: ""}[row.is_met]
    line = (
        f"{row.work:<19}{_number(row.value):>9} {row.unit:<9}{row.runs:>5}{share:>7} {row.of:<12}{target:>8} {verdict}"
    )
    return line.rstrip()


def _number(value: float) -> str:
    """Three figures at least, never an exponent."""
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def row_fields(row: Row) -> dict[str, Any]:
    """A row for JSON. `tokens_per_s` is there where the value is that."""
    fields = asdict(row)
    fields["target"] = None if row.target is None else asdict(row.target)
    fields["is_met"] = row.is_met
    if row.unit == "tokens/s":
        fields["tokens_per_s"] = row.value
    return fields


def write_json(path: Path, machine: dict[str, Any], occasion: dict[str, Any], rows: Sequence[Row]) -> None:
    """{"machine": {...}, "date", "version", "commit", "command", "limits": {...}, "rows": [...]}

    Limits are the best of the whole run; each row has those of its own time.
    """
    limits = functools.reduce(larger, (row.limits for row in rows))
    document = {"machine": machine, **occasion, "limits": asdict(limits), "rows": [row_fields(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
