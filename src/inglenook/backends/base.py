"""The seam between the server and whatever answers: our own engine, a remote provider, a scripted test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inglenook.types import (
    ChatRequest,
    Classes,
    ClassifyRequest,
    CompletionRequest,
    Delta,
    Embeddings,
    EmbedRequest,
    ModelCard,
    RenderedPrompt,
    ScoreRequest,
    Scores,
)


@dataclass(frozen=True)
class BackendStats:
    """A snapshot for /metrics. Names as Prometheus will show them, without prefix."""

    gauges: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)


class Backend(Protocol):
    """Serves the models it lists, each with its task: so it is a Generator, a Pooler, or both.

    `render` gives the prompts that a model would be given, one or several; an empty one is none of its concern.
    """

    def models(self) -> list[ModelCard]: ...

    async def render(
        self, request: ChatRequest | CompletionRequest, *, with_tokens: bool = False
    ) -> list[RenderedPrompt]: ...

    async def detokenize(self, token_ids: Sequence[int]) -> str: ...

    def stats(self) -> BackendStats: ...

    def is_healthy(self) -> bool: ...

    async def close(self) -> None: ...


class Generator(Backend, Protocol):
    """Of models whose task is "generate".

    Both raise an InglenookError before the first delta where the request can't be served. Closing the iterator
    (aclose, or cancelling the task that awaits it) cancels the request at once.
    """

    def chat(self, request: ChatRequest) -> AsyncIterator[Delta]: ...

    def complete(self, request: CompletionRequest) -> AsyncIterator[Delta]: ...


class Pooler(Backend, Protocol):
    """Of models whose task is "embed" (the first two methods), "score" (the last two) or "classify" (the last).

    Cancelling the task that awaits an answer cancels the request.
    """

    async def embed(self, request: EmbedRequest) -> Embeddings: ...

    async def score(self, request: ScoreRequest) -> Scores: ...

    async def classify(self, request: ClassifyRequest) -> Classes: ...
