"""What the benchmark divides by, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inglenook.bench.report import HEADER, row_line, write_json
from inglenook.bench.throughput import Row
from inglenook.bench.work import step_cost
from inglenook.ops.probes import Limits
from inglenook.ops.program import Program
from inglenook.ops.weights import KeptWeight

LIMITS = Limits(read_gb_s=40, int8_gop_s=1000, bf16_gflop_s=500)


def tied_program() -> Program:
    """Two fused matrices of 96 rows in all, and a head of 320 rows that is the embedding too."""
    program = Program()
    embedding = program.weight("embedding", 320, 64)
    x = program.embed(embedding)
    y = program.linear(x, program.weight("q", 64, 64), program.weight("k", 32, 64))
    q, _ = program.split(y, 64, 32)
    program.logits(program.select_rows(q), embedding)
    return program


def test_a_step_reads_every_matrix_once_and_multiplies_the_head_for_selected_tokens_only() -> None:
    kept = {"embedding": KeptWeight("q8", 20_000), "q": KeptWeight("q4", 3_000), "k": KeptWeight("q4", 1_500)}
    cost = step_cost(tied_program(), kept)
    assert cost.num_bytes == 24_500
    assert cost.format == "q4"
    assert cost.operations(10, 2) == 2 * (10 * 96 * 64 + 2 * 320 * 64)


def test_the_limit_is_the_slower_of_reading_and_multiplying() -> None:
    kept = {"embedding": KeptWeight("q8", 20_000), "q": KeptWeight("q4", 3_000), "k": KeptWeight("q4", 1_500)}
    cost = step_cost(tied_program(), kept)
    assert cost.least_seconds(1, 1, LIMITS) == pytest.approx(24_500 / 40e9)
    assert cost.least_seconds(4096, 4096, LIMITS) == pytest.approx(cost.operations(4096, 4096) / 1000e9)
    floats = step_cost(tied_program(), {name: KeptWeight("bf16", w.num_bytes) for name, w in kept.items()})
    assert floats.least_seconds(4096, 4096, LIMITS) == pytest.approx(cost.operations(4096, 4096) / 500e9)


def test_report(tmp_path: Path) -> None:
    row = Row("smollm2:135m", "q4", "decode-8", 1234.56, 0.405)
    assert len(row_line(row)) == len(HEADER)
    assert "1234.6" in row_line(row)
    write_json(tmp_path / "bench.json", {"threads": 2}, LIMITS, [row])
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["limits"] == {"read_gb_s": 40, "int8_gop_s": 1000, "bf16_gflop_s": 500}
    assert document["rows"] == [
        {"model": "smollm2:135m", "format": "q4", "work": "decode-8", "tokens_per_s": 1234.56, "share": 0.405}
    ]
