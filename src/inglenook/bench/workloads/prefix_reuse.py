"""Prefix reuse: the second turn of a conversation has little to compute but what is new in it."""

from __future__ import annotations

import statistics
import time

from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload

NUM_SHARED_TOKENS = 2000
NUM_ANSWER_TOKENS = 16
NUM_NEW_TOKENS = 16
NUM_RUNS = 5


def measure(subject: Subject) -> Figure:
    """Time to first token of the second turn, as a share of the first one's."""
    firsts, seconds = [], []
    for _ in range(NUM_RUNS + 1):  # the first is the warm-up
        prompt = subject.prompt(NUM_SHARED_TOKENS)
        answer: list[int] = []
        firsts.append(_first_token(subject, prompt, answer))
        seconds.append(_first_token(subject, prompt + tuple(answer) + subject.prompt(NUM_NEW_TOKENS), []))
    first = statistics.median(firsts[1:])
    return Figure(tuple(1e3 * s for s in seconds[1:]), "ms", lambda limits: 1e3 * first, of="first turn")


def _first_token(subject: Subject, prompt: tuple[int, ...], answer: list[int]) -> float:
    """Seconds; the answer's tokens are added to `answer`."""
    request = subject.request(prompt, NUM_ANSWER_TOKENS)
    begin = time.perf_counter()
    seconds = 0.0
    for output in subject.loaded.engine.generate_blocking([request]):
        seconds = seconds or time.perf_counter() - begin
        answer += [token.token_id for token in output.tokens]
    return seconds


PREFIX_REUSE = Workload("prefix-reuse", measure, model={"max_model_len": 4096})
