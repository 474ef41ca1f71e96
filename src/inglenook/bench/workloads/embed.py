"""Embeddings: many texts of one length, handed in together."""

from __future__ import annotations

import time

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.engine.load_pooling import LoadedPoolingEngine, load_pooling_engine
from inglenook.engine.pooling import PoolingInput
from inglenook.ops.native import default_isa
from inglenook.ops.probes import Limits
from inglenook.ops.program import Attention, Linear

MIN_TOKENS = 4096  # of a run, in all texts


def embed(num_tokens: int) -> Workload:
    return Workload(f"embed-{num_tokens}", lambda subject: measure_embed(subject, num_tokens), model={"task": "embed"})


def measure_embed(subject: Subject, num_tokens: int) -> Figure:
    """Texts of random tokens a second."""
    loaded = load_pooling_engine(subject.path, subject.model, subject.settings)
    num_texts = -(-MIN_TOKENS // num_tokens)
    prompts = subject.random_tokens(num_texts * num_tokens, loaded.config.vocab_size)
    inputs = [PoolingInput(prompts[i : i + num_tokens]) for i in range(0, len(prompts), num_tokens)]
    engine = loaded.engine

    def run() -> float:
        begin = time.perf_counter()
        engine.encode_blocking(inputs)
        return num_texts / (time.perf_counter() - begin)

    operations = operations_of(loaded, num_tokens)
    share = _share_of_bf16(loaded, subject.settings.isa or default_isa())
    try:
        values = subject.repeat(run)
    finally:
        engine.stop()
    return Figure(values, "texts/s", lambda limits: _peak(limits, share) / operations)


def operations_of(loaded: LoadedPoolingEngine, num_tokens: int) -> int:
    """Two for each multiply-add of one text: linears over its tokens, and attention of each token over all of them."""
    total = 0
    for op in loaded.program.ops:
        if isinstance(op, Linear):
            total += 2 * (num_tokens if op.out.rows == "tokens" else 1) * op.x.width * op.out.width
        elif isinstance(op, Attention):
            total += 4 * op.spec.num_heads * op.spec.head_dim * num_tokens**2
    return total


def _share_of_bf16(loaded: LoadedPoolingEngine, isa: str) -> float:
    """AVX-512 multiplies two pairs of bf16 where it multiplies one of float32; without it both are float32."""
    formats = {kept.format for name, kept in loaded.kept_weights.items() if len(loaded.program.weights[name].shape) > 1}
    return 0.5 if isa == "avx512" and formats == {"f32"} else 1.0


def _peak(limits: Limits, share: float) -> float:
    return share * limits.bf16_gflop_s * 1e9
