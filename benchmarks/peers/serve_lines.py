"""The worker's side of worker.py. Imports nothing but the standard library: it runs in each peer's environment."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

from peers.base import Work, rate

Times = Sequence[Sequence[float]]


def serve_lines(run: Callable[[Work, list[list[int]]], Times], vocab_size: int) -> None:
    """Answer one line after another. `run` gets the prompts and returns when each token of each answer came."""
    import random

    draw = random.Random(0)
    _answer(0.0)
    for line in sys.stdin:
        work = Work(**json.loads(line))
        prompts = [
            [draw.randrange(vocab_size) for _ in range(work.num_prompt_tokens)] for _ in range(work.num_sequences)
        ]
        start = time.perf_counter()
        times = run(work, prompts)
        for arrivals in times:
            if len(arrivals) != work.num_tokens:
                sys.exit(f"A sequence of {work.name} has {len(arrivals)} tokens, not {work.num_tokens}.")
        _answer(rate(work, start, times))


def _answer(tokens_per_s: float) -> None:
    print(json.dumps({"tokens_per_s": tokens_per_s}), flush=True)
