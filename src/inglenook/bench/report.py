"""The benchmark as a table and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inglenook.bench.throughput import Row
from inglenook.ops.probes import Limits


def machine(threads: int, isa: str) -> dict[str, Any]:
    """What the figures depend on besides the program."""
    return {"processor": _processor(), "threads": threads, "isa": isa, "system": platform.platform()}


def write_json(path: Path, machine: dict[str, Any], limits: Limits, rows: Sequence[Row]) -> None:
    """{"machine": {...}, "limits": {...}, "rows": [...]}"""
    document = {"machine": machine, "limits": asdict(limits), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def limit_lines(limits: Limits) -> list[str]:
    return [
        f"memory read  {limits.read_gb_s:8.1f} GB/s",
        f"int8 peak    {limits.int8_gop_s:8.0f} GOP/s",
        f"bf16 peak    {limits.bf16_gflop_s:8.0f} GFLOP/s",
    ]


HEADER = f"{'model':<16}{'format':<8}{'work':<14}{'tokens/s':>10}{'of limit':>10}"


def row_line(row: Row) -> str:
    return f"{row.model:<16}{row.format:<8}{row.work:<14}{row.tokens_per_s:>10.1f}{row.share:>10.0%}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
