"""The benchmark as a table of 80 columns and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inglenook.bench.rows import Row
from inglenook.ops.probes import Limits

HEADER = f"{'work':<19}{'median':>9} {'unit':<9}{'runs':>5}{'share':>7} {'of':<12}{'target':>8}"


def limit_line(limits: Limits) -> str:
    return (
        f"memory {limits.read_gb_s:.1f} GB/s, int8 {limits.int8_gop_s:.0f} GOP/s, "
        f"bf16 {limits.bf16_gflop_s:.0f} GFLOP/s"
    )


def row_line(row: Row) -> str:
    share = "?" if row.share is None else f"{row.share:.0%}"
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


def write_json(
    path: Path, machine: dict[str, Any], occasion: dict[str, Any], limits: Limits, rows: Sequence[Row]
) -> None:
    """{"machine": {...}, "date", "version", "commit", "command", "limits": {...}, "rows": [...]}"""
    document = {"machine": machine, **occasion, "limits": asdict(limits), "rows": [row_fields(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
