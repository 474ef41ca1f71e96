"""What is measured with every engine, and what an engine must be able to do for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Work:
    """`num_sequences` prompts of random tokens at once, each answered with exactly `num_tokens` tokens, greedily.

    With one token the rate is the prompt's tokens over the time to that token. With more it is steady decoding: all
    tokens that come between the last sequence's first token and the first sequence's last.
    """

    name: str
    num_sequences: int
    num_prompt_tokens: int
    num_tokens: int

    @property
    def is_prefill(self) -> bool:
        return self.num_tokens == 1


WORKS = (
    Work("prefill-512", 1, 512, 1),
    Work("decode-1", 1, 16, 48),
    Work("decode-8", 8, 16, 48),
    Work("decode-32", 32, 16, 48),
)


class PeerError(Exception):
    """An engine can't be had or has failed; the message says how."""


class Peer(Protocol):
    """An engine with the model loaded. It computes only while `measure` runs."""

    name: str
    version: str

    def measure(self, work: Work) -> float:
        """Tokens per second of one run. Raises PeerError."""
        ...

    def close(self) -> None: ...


def rate(work: Work, start: float, times: Sequence[Sequence[float]]) -> float:
    """Tokens per second, from when each token of each sequence came, s."""
    if work.is_prefill:
        return work.num_sequences * work.num_prompt_tokens / (max(arrivals[0] for arrivals in times) - start)
    begin = max(arrivals[0] for arrivals in times)
    end = min(arrivals[-1] for arrivals in times)
    return sum(begin < arrival <= end for arrivals in times for arrival in arrivals) / (end - begin)
