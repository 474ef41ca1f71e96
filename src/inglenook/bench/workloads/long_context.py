"""A context of 8,192 tokens: its prefill, counting attention, and decoding behind it, counting the keys and values."""

from __future__ import annotations

import time

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.bench.workloads.decode import steady_rate
from inglenook.ops.probes import Limits

NUM_TOKENS = 8192
NUM_DECODED = 32
NUM_RUNS = 3
SETTINGS = {"max_model_len": NUM_TOKENS + 2 * NUM_DECODED}


def measure_prefill(subject: Subject) -> Figure:
    cost = subject.cost
    values = []
    for seed in range(NUM_RUNS):
        begin = time.perf_counter()
        subject.arrivals([subject.request(subject.prompt(NUM_TOKENS, seed), max_tokens=1)])
        values.append(NUM_TOKENS / (time.perf_counter() - begin))

    def limit(limits: Limits) -> float:
        attention = cost.attention_operations(NUM_TOKENS) / (limits.bf16_gflop_s * 1e9)
        return NUM_TOKENS / (cost.least_seconds(NUM_TOKENS, 1, limits) + attention)

    return Figure(tuple(values), "tokens/s", limit)


def measure_decode(subject: Subject) -> Figure:
    """The prompt is the last one of measure_prefill, so that it is in the cache where that has run before."""
    cost = subject.cost
    prompt = subject.prompt(NUM_TOKENS, NUM_RUNS - 1)

    def run() -> float:
        return steady_rate(subject.arrivals([subject.request(prompt, NUM_DECODED)]))

    def limit(limits: Limits) -> float:
        return 1 / cost.least_seconds(1, 1, limits, context=NUM_TOKENS + NUM_DECODED // 2)

    return Figure(subject.repeat(run), "tokens/s", limit)


LONG_CONTEXT = (
    Workload("prefill-8192", measure_prefill, model=SETTINGS, is_long=True),
    Workload("decode-1-at-8192", measure_decode, model=SETTINGS, is_long=True),
)
