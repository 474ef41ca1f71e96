"""The benchmark of one model: load it, run every kind of work, let it go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inglenook.bench.throughput import Row, Workload
from inglenook.bench.work import step_cost
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine.load import load_engine
from inglenook.ops.probes import Limits

PROMPT_TOKENS = 512
NUM_SEQUENCES = (1, 8, 32)


def bench_model(path: Path | None, name: str, engine: EngineSettings, limits: Limits) -> Iterator[Row]:
    """Prefill and decode rows as they are measured. Raises what load_engine raises."""
    loaded = load_engine(path, ModelSettings(model=name, max_model_len=1024), engine)
    try:
        cost = step_cost(loaded.program, loaded.kept_weights)
        workload = Workload(name, loaded.engine, cost, limits, loaded.config.vocab_size)
        yield workload.prefill(PROMPT_TOKENS)
        for num_sequences in NUM_SEQUENCES:
            yield workload.decode(num_sequences)
    finally:
        loaded.engine.stop()
