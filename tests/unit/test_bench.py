"""What the benchmark divides by, what it chooses to run, and what it writes. No timings."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from inglenook.bench.machine import commit
from inglenook.bench.profile import Part, profile_lines
from inglenook.bench.report import HEADER, limit_line, row_line, write_json
from inglenook.bench.rows import Figure, Row, Target, against_other_isa, larger, make_row
from inglenook.bench.run import Job, choose_jobs, run_jobs
from inglenook.bench.subject import Subject
from inglenook.bench.targets import TARGETS
from inglenook.bench.work import step_cost
from inglenook.bench.workload import Workload
from inglenook.bench.workloads import STANDARD, WORKLOADS, structured
from inglenook.bench.workloads.decode import steady_rate
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine.request import EngineRequest
from inglenook.errors import ConfigError
from inglenook.ops.probes import Limits
from inglenook.ops.profile import stage_name
from inglenook.ops.program import AttentionSpec, Program
from inglenook.ops.weights import KeptWeight
from inglenook.store.store import ModelFiles

LIMITS = Limits(read_gb_s=40, int8_gop_s=1000, bf16_gflop_s=500)
KEPT = {"embedding": KeptWeight("q8", 20_000), "q": KeptWeight("q4", 3_000), "k": KeptWeight("q4", 1_500)}


def tied_program(sliding_window: int | None = None) -> Program:
    """Fused matrices of 128 rows in all, attention of 2 heads over 1, and a head of 320 rows that is the embedding."""
    program = Program()
    embedding = program.weight("embedding", 320, 64)
    x = program.embed(embedding)
    y = program.linear(x, program.weight("q", 64, 64), program.weight("k", 64, 64))
    q, k, v = program.split(y, 64, 32, 32)
    spec = AttentionSpec(0, num_heads=2, num_kv_heads=1, head_dim=32, scale=1.0, sliding_window=sliding_window)
    out = program.attention(q, k, v, spec)
    program.logits(program.select_rows(out), embedding)
    return program


ROW = Row(
    "dummy:1b",
    "q4",
    "avx512",
    "decode-8",
    1234.56,
    "tokens/s",
    5,
    1200,
    1300,
    0.405,
    "limit",
    LIMITS,
    True,
    Target(0.4),
)


# --- limits ----------------------------------------------------------------------------------------------


def test_a_step_reads_every_matrix_once_and_multiplies_the_head_for_selected_tokens_only() -> None:
    cost = step_cost(tied_program(), KEPT)
    assert cost.num_bytes == 24_500
    assert cost.format == "q4"
    assert cost.operations(10, 2) == 2 * (10 * 128 * 64 + 2 * 320 * 64)


def test_the_limit_is_the_slower_of_reading_and_multiplying() -> None:
    cost = step_cost(tied_program(), KEPT)
    assert cost.least_seconds(1, 1, LIMITS) == pytest.approx(24_500 / 40e9)
    assert cost.least_seconds(4096, 4096, LIMITS) == pytest.approx(cost.operations(4096, 4096) / 1000e9)
    floats = step_cost(tied_program(), {name: KeptWeight("bf16", w.num_bytes) for name, w in KEPT.items()})
    assert floats.least_seconds(4096, 4096, LIMITS) == pytest.approx(cost.operations(4096, 4096) / 500e9)


def test_a_long_context_is_read_and_multiplied_too() -> None:
    cost = step_cost(tied_program(), KEPT, kv_bytes_per_token=2 * 32 * 2)
    assert cost.kv_bytes(100) == 100 * 2 * 32 * 2
    assert cost.least_seconds(1, 1, LIMITS, context=100) == pytest.approx((24_500 + 12_800) / 40e9)
    assert cost.attention_operations(3) == (1 + 2 + 3) * 2 * 2 * 2 * 32  # scores and values, two each, heads, width


def test_a_sliding_window_bounds_what_is_seen() -> None:
    cost = step_cost(tied_program(sliding_window=2), KEPT, kv_bytes_per_token=2 * 32 * 2)
    assert cost.kv_bytes(100) == 2 * 2 * 32 * 2
    assert cost.attention_operations(4) == (1 + 2 + 2 + 2) * 2 * 2 * 2 * 32
    assert cost.attention_operations(1) == 1 * 2 * 2 * 2 * 32


def test_the_best_of_two_measurements_of_each_limit_counts() -> None:
    assert larger(LIMITS, Limits(50, 900, 500)) == Limits(50, 1000, 500)


def test_a_steady_rate_counts_only_while_all_are_decoding() -> None:
    assert steady_rate([[0.0, 1.0, 2.0, 3.0], [1.5, 2.5, 3.5]]) == pytest.approx(3 / 1.5)


# --- rows ------------------------------------------------------------------------------------------------


def test_a_row_is_the_median_and_its_share() -> None:
    figure = Figure((10.0, 30.0, 20.0), "tokens/s", lambda limits: limits.read_gb_s)
    row = make_row(("m", "q4", "avx2", "decode-1"), figure, LIMITS, LIMITS, Target(0.6))
    assert (row.value, row.runs, row.lowest, row.highest, row.share, row.is_met) == (20, 3, 10, 30, 0.5, False)
    assert row.limits == LIMITS
    assert row.is_steady
    assert row.target == Target(0.6)


def test_the_better_bandwidth_of_before_and_after_counts_and_a_change_makes_the_share_doubtful() -> None:
    figure = Figure((20.0,), "tokens/s", lambda limits: limits.read_gb_s)
    for before, after in (LIMITS, replace(LIMITS, read_gb_s=30)), (replace(LIMITS, read_gb_s=30), LIMITS):
        row = make_row(("m", "q4", "avx2", "decode-1"), figure, before, after, None)
        assert (row.share, row.is_steady) == (0.5, False)
        assert " ~50% " in row_line(row)
    compute_bound = replace(figure, limit=lambda limits: limits.int8_gop_s)
    names = ("m", "q4", "avx2", "decode-32")
    assert make_row(names, compute_bound, LIMITS, replace(LIMITS, read_gb_s=30), None).is_steady


def test_targets_are_lower_or_upper_bounds() -> None:
    assert Target(0.5).is_met(0.5)
    assert not Target(0.5).is_met(0.49)
    assert Target(0.05, is_upper=True).is_met(0.05)
    assert not Target(0.05, is_upper=True).is_met(0.06)
    assert [str(Target(0.5)), str(Target(0.05, is_upper=True))] == [">= 50%", "<= 5%"]
    assert replace(ROW, target=None).is_met is None


def test_a_target_may_speak_of_another_instruction_set() -> None:
    row = replace(ROW, isa="avx2", value=600.0, target=Target(0.45, of_isa="avx512"))
    compared = against_other_isa(row, [ROW, replace(ROW, work="decode-1", value=1)])
    assert (compared.share, compared.of, compared.is_met) == (pytest.approx(600 / 1234.56), "avx512", True)
    unknown = against_other_isa(row, [])
    assert (unknown.share, unknown.is_met) == (None, None)
    assert "?" in row_line(unknown)
    assert against_other_isa(ROW, []) == ROW


# --- what runs -------------------------------------------------------------------------------------------


def test_targets_name_works_that_there_are() -> None:
    assert all(name in WORKLOADS for targets in TARGETS.values() for name in targets)
    assert all(name == workload.name for name, workload in WORKLOADS.items())


def test_without_a_model_everything_with_a_target_runs() -> None:
    isas = ["scalar", "avx2", "avx512"]
    jobs = choose_jobs([], [], isas=isas, default_isa="avx512")
    assert [(job.model, job.isa) for job in jobs] == list(TARGETS)
    assert not any(WORKLOADS[work].is_long for job in jobs for work in job.works)
    with_long = choose_jobs([], [], isas=isas, default_isa="avx512", is_long=True)
    assert any(WORKLOADS[work].is_long for job in with_long for work in job.works)
    assert {job.isa for job in choose_jobs([], [], isas=["avx2"], default_isa="avx2")} == {"avx2"}


def test_models_and_works_can_be_chosen() -> None:
    assert choose_jobs(["a", "b"], [], isas=[], default_isa="avx2") == [Job(m, "avx2", STANDARD) for m in "ab"]
    assert choose_jobs(["a"], ["decode-4"], isas=[], default_isa="avx2") == [Job("a", "avx2", ("decode-4",))]
    jobs = choose_jobs([], ["prefill-8192"], isas=["avx512"], default_isa="avx512")
    assert jobs == [Job("dummy:1b", "avx512", ("prefill-8192",))]
    with pytest.raises(ConfigError, match=r"no work 'decode-3'; there are .*decode-1, "):
        choose_jobs([], ["decode-3"], isas=[], default_isa="avx2")
    with pytest.raises(ConfigError, match="name a model"):
        choose_jobs([], ["decode-4"], isas=["avx512"], default_isa="avx512")


def test_a_work_is_measured_again_while_the_limits_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def limit(limits: Limits) -> float:
        return limits.read_gb_s

    count = itertools.count(1)
    works = {
        "once": Workload("once", lambda _: Figure((float(next(count)),), "tokens/s", limit)),
        "long": Workload("long", lambda _: Figure((float(next(count)),), "tokens/s", limit), is_long=True),
    }
    monkeypatch.setattr("inglenook.bench.run.WORKLOADS", works)
    bandwidths = iter([30, 40, 30, 31, 60])
    rows = [
        measurement.row
        for measurement in run_jobs(
            [Job("dummy:tiny", "avx2", ("once", "long"))],
            lambda name: ModelFiles(None, name, "dummy"),
            EngineSettings(threads=1),
            lambda: replace(LIMITS, read_gb_s=next(bandwidths)),
        )
    ]
    assert [(row.work, row.value, row.limits.read_gb_s, row.is_steady) for row in rows] == [
        ("once", 3, 31, True),
        ("long", 4, 60, False),
    ]


# --- what is written -------------------------------------------------------------------------------------


def test_the_table_is_aligned_and_fits_a_terminal() -> None:
    assert row_line(ROW) == "decode-8              1234.6 tokens/s     5    40% limit         >= 40% met"
    assert row_line(ROW).index(" met") == len(HEADER)
    assert row_line(replace(ROW, share=0.399)).endswith(" missed")
    assert row_line(replace(ROW, target=None)).endswith(" limit")
    widest = replace(ROW, work="decode-1-at-8192", of="first turn", share=1.239, target=Target(1.0), value=98765.4)
    assert len(row_line(widest)) <= 80
    slower = replace(ROW, limits=Limits(34.4, 923, 461))
    assert limit_line([ROW, slower]) == "limits: read 34 to 40 GB/s, int8 923 to 1000 GOP/s, bf16 461 to 500 GFLOP/s"
    assert limit_line([ROW]) == "limits: read 40 GB/s, int8 1000 GOP/s, bf16 500 GFLOP/s"
    small = replace(ROW, value=0.01234, unit="s")
    assert " 0.012 s " in row_line(small)


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "bench.json", {"threads": 2}, {"commit": "abc"}, [ROW, replace(ROW, unit="s")])
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["machine"] == {"threads": 2}
    assert document["commit"] == "abc"
    assert document["limits"] == {"read_gb_s": 40, "int8_gop_s": 1000, "bf16_gflop_s": 500}
    first, second = document["rows"]
    assert first["tokens_per_s"] == first["value"] == 1234.56
    assert first["target"] == {"share": 0.40, "is_upper": False, "of_isa": None}
    assert (first["is_met"], first["runs"], first["share"]) == (True, 5, 0.405)
    assert "tokens_per_s" not in second


def test_an_installed_package_has_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None


def test_a_profile_names_where_the_time_goes() -> None:
    parts = [Part("q_proj|k_proj", 2, 3e-3, 90_000_000, 6_000_000_000), Part("attention", 2, 1e-3)]
    title, header, first, second = profile_lines("decode-1", 1, parts)
    assert title == "  decode-1: where the 4.00 ms of a step of 1 tokens go"
    assert first == "  q_proj|k_proj                          2    3.000  75.0%   1500.0  30.0   2000"
    assert second == "  attention                              2    1.000  25.0%    500.0"
    assert len(first) == len(header) <= 80


def test_stages_are_named_by_their_weights() -> None:
    assert stage_name(["linear"], ["layers.3.mlp.gate_proj.weight", "layers.3.mlp.up_proj.weight"]) == (
        "gate_proj|up_proj"
    )
    assert stage_name(["rms_norm", "prepare", "prepare"], []) == "rms_norm prepare"


def test_structured_output_is_measured_beside_as_many_tokens_of_free_text(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[list[int]] = []
    monkeypatch.setattr(structured, "NUM_RUNS", 1)
    model = ModelSettings(model="dummy:tiny", max_model_len=512)
    subject = Subject(None, model, EngineSettings(threads=2, max_num_seqs=16))
    arrivals = subject.arrivals

    def watch(requests: list[EngineRequest]) -> list[list[float]]:
        times = arrivals(requests)
        counts.append([len(t) for t in times])
        return times

    monkeypatch.setattr(subject, "arrivals", watch)
    try:
        for work in structured.STRUCTURED:
            figure = work.measure(subject)
            assert len(figure.values) == 1 and figure.values[0] > 0 and figure.limit(LIMITS) > 0
    finally:
        subject.close()
    assert len(counts) == 3 * len(structured.STRUCTURED)  # a warm-up, then one run of each
    assert counts[1::3] == counts[2::3]


def test_an_engine_can_be_profiled() -> None:
    model = ModelSettings(model="dummy:tiny", max_model_len=128)
    subject = Subject(None, model, EngineSettings(threads=2), min_runs=1, is_profiled=True)
    try:
        subject.repeat(lambda: float(len(subject.arrivals([subject.request(subject.prompt(8), 20)]))), max_runs=1)
        profile = subject.profile()
    finally:
        subject.close()
    assert profile is not None
    num_tokens, parts = profile
    names = [part.name for part in parts]
    assert num_tokens in (1, 8)
    assert {"q_proj|k_proj|v_proj", "attention", "gate_proj|up_proj", "down_proj", "sampling"} <= set(names)
    layers = next(part for part in parts if part.name == "down_proj")
    assert (layers.count, layers.operations) == (2, 2 * 2 * 64 * 128 * num_tokens)
    assert all(part.seconds > 0 for part in parts if part.num_bytes)
