"""The seam between the server and whatever answers: our own engine, a remote provider, a scripted test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inglenook.types import ChatRequest, CompletionRequest, Delta, ModelCard, RenderedPrompt


@dataclass(frozen=True)
class BackendStats:
    """A snapshot for /metrics. Names as Prometheus will show them, without prefix."""

    gauges: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)


class Backend(Protocol):
    """Answers requests for the models it lists.

    `chat` and `complete` raise an InglenookError before the first delta where the request can't be served.
    Closing the iterator (aclose, or cancelling the task that awaits it) cancels the request at once.
    `render` gives the prompts that they would be given, one or several; an empty one is none of its concern.
    """

    def models(self) -> list[ModelCard]: ...

    def chat(self, request: ChatRequest) -> AsyncIterator[Delta]: ...

    def complete(self, request: CompletionRequest) -> AsyncIterator[Delta]: ...

    async def render(
        self, request: ChatRequest | CompletionRequest, *, with_tokens: bool = False
    ) -> list[RenderedPrompt]: ...

    async def detokenize(self, token_ids: Sequence[int]) -> str: ...

    def stats(self) -> BackendStats: ...

    def is_healthy(self) -> bool: ...

    async def close(self) -> None: ...
