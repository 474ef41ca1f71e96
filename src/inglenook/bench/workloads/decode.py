"""Steady decoding of several sequences: tokens per second while all of them are decoding."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.ops.probes import Limits

NUM_PROMPT_TOKENS = 16
NUM_TOKENS = 48


def decode(num_sequences: int) -> Workload:
    return Workload(f"decode-{num_sequences}", lambda subject: measure_decode(subject, num_sequences))


def measure_decode(subject: Subject, num_sequences: int) -> Figure:
    cost = subject.cost

    def run() -> float:
        prompts = [subject.prompt(NUM_PROMPT_TOKENS) for _ in range(num_sequences)]
        return steady_rate(subject.arrivals([subject.request(prompt, NUM_TOKENS) for prompt in prompts]))

    def limit(limits: Limits) -> float:
        return num_sequences / cost.least_seconds(num_sequences, num_sequences, limits)

    return Figure(subject.repeat(run), "tokens/s", limit)


def steady_rate(times: Sequence[Sequence[float]]) -> float:
    """Tokens per second from the last sequence's first token to the first one's last. `times`: when each came, s."""
    begin = max(arrivals[0] for arrivals in times)
    end = min(arrivals[-1] for arrivals in times)
    num_tokens = sum(begin < arrival <= end for arrivals in times for arrival in arrivals)
    return num_tokens / (end - begin)
