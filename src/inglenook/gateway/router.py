"""Request -> back end, by the model that is asked for; counts what passes, closes the door when the server stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from inglenook.backends.base import Backend, Generator, Pooler
from inglenook.errors import InglenookError, UnavailableError, UnsupportedTaskError
from inglenook.gateway.names import ModelNames
from inglenook.gateway.request_stats import RequestStats, RequestTimer
from inglenook.types import (
    DOES,
    ChatRequest,
    Classes,
    ClassifyRequest,
    CompletionRequest,
    Delta,
    Embeddings,
    EmbedRequest,
    ModelCard,
    PoolingRequest,
    RenderedPrompt,
    ScoreRequest,
    Scores,
    Task,
)

_RequestT = TypeVar("_RequestT", bound=ChatRequest | CompletionRequest | PoolingRequest)
_AnswerT = TypeVar("_AnswerT", Embeddings, Scores, Classes)


@dataclass
class Served:
    """A back end with what the router counts of it. `name` is its first model's, for metrics."""

    backend: Backend
    name: str
    stats: RequestStats = field(default_factory=RequestStats)


class Router:
    """One for the whole server. Where two back ends list the same model, the earlier one gets the requests."""

    def __init__(
        self, backends: Sequence[Backend], *, aliases: Mapping[str, str] | None = None, any_model: bool = False
    ) -> None:
        """`aliases` are further names, each with the name that it means. Raises ConfigError where one can't be."""
        self.served: list[Served] = []
        self._by_model: dict[str, Served] = {}
        self.is_accepting = True
        cards: list[ModelCard] = []
        for backend in backends:
            own = backend.models()
            served = Served(backend, own[0].name if own else "")
            self.served.append(served)
            cards += own
            for card in own:
                self._by_model.setdefault(card.name, served)
        self._names = ModelNames(cards, aliases, any_model=any_model)

    # --- models ---------------------------------------------------------------------------------

    def models(self) -> list[ModelCard]:
        """A card for every name, aliases included."""
        return self._names.cards()

    def model(self, name: str) -> ModelCard:
        """Raises ModelNotFoundError."""
        return self._names.card(name)

    def knows(self, name: str) -> bool:
        """Whether a model is listed under this name: for dialects that know several spellings of one."""
        return self._names.knows(name)

    def resolve(self, name: str, *tasks: Task) -> str:
        """The model that `name` asks for, by its own name. Raises ModelNotFoundError.

        Names that mean any model (names.ANY_NAMES) mean the first that does one of `tasks`, which are tried in order;
        without any, it is the first that generates.
        """
        return self._names.resolve(name, *(tasks or ("generate",)))

    # --- requests -------------------------------------------------------------------------------

    def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """Deltas of the model's answer. Raises ModelNotFoundError, UnsupportedTaskError, UnavailableError, at once."""
        request, served = self._admit(request, "generate")
        return _follow(cast(Generator, served.backend).chat(request), served.stats)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """As `chat`."""
        request, served = self._admit(request, "generate")
        return _follow(cast(Generator, served.backend).complete(request), served.stats)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """A vector for each input. Raises as `chat` does, and what the model can't take."""
        request, served = self._admit(request, "embed")
        return await _count(cast(Pooler, served.backend).embed(request), served.stats)

    async def score(self, request: ScoreRequest) -> Scores:
        """A score for each pair, of a cross-encoder or an embedding model. Raises as `embed` does."""
        request, served = self._admit(request, "score", "embed")
        return await _count(cast(Pooler, served.backend).score(request), served.stats)

    async def classify(self, request: ClassifyRequest) -> Classes:
        """The classes of each input, of a classifier; a model that ranks has one. Raises as `embed` does."""
        request, served = self._admit(request, "classify", "score")
        return await _count(cast(Pooler, served.backend).classify(request), served.stats)

    async def render(
        self, request: ChatRequest | CompletionRequest, *, with_tokens: bool = False
    ) -> list[RenderedPrompt]:
        """The prompts that the model would be given. Raises as `chat` does, and what makes a request unrenderable."""
        served = self._served(request.model)
        return await served.backend.render(request, with_tokens=with_tokens)

    async def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included. Raises ModelNotFoundError."""
        return await self._served(model).backend.detokenize(token_ids)

    def _served(self, model: str) -> Served:
        return self._by_model[self.resolve(model)]

    def _admit(self, request: _RequestT, *tasks: Task) -> tuple[_RequestT, Served]:
        if not self.is_accepting:
            raise UnavailableError("The server is shutting down.")
        name = self.resolve(request.model, *tasks)
        task = self.model(name).task
        if task not in tasks:
            able = self._names.able(*tasks)
            there = f"Of this server's models, {able} can." if able else "No model of this server can."
            raise UnsupportedTaskError(f"The model {name!r} {DOES[task]}; it can't do this. {there}", param="model")
        return (request if request.model == name else replace(request, model=name)), self._by_model[name]

    # --- state ----------------------------------------------------------------------------------

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        return sum(served.stats.num_running for served in self.served)

    def num_computed(self, model: str) -> int:
        """Requests for a model's back end that are being computed; those that wait for their turn aren't."""
        served = self._by_model[self.resolve(model)]
        return int(served.backend.stats().gauges.get("num_requests_running", served.stats.num_running))

    def is_healthy(self) -> bool:
        return self.is_accepting and bool(self.served) and not self.failed()

    def failed(self) -> list[str]:
        """Models whose back end doesn't work any more; the others go on."""
        return [served.name for served in self.served if not served.backend.is_healthy()]

    def stop_accepting(self) -> None:
        """From now on requests are refused; those that run go on."""
        self.is_accepting = False

    async def close(self) -> None:
        """Close every back end, even where closing one fails."""
        self.stop_accepting()
        results = await asyncio.gather(*(served.backend.close() for served in self.served), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


@contextmanager
def _timed(stats: RequestStats) -> Iterator[RequestTimer]:
    """Counts what is done within as one request, however it ends."""
    timer = RequestTimer(stats, time.perf_counter())
    failure: str | None = "abort"  # what it is where neither of the lines below is reached: closed or cancelled
    try:
        yield timer
        failure = None
    except Exception as error:
        # Whose fault it was: what a request asks for and can't have is no error of ours.
        failure = "refused" if isinstance(error, InglenookError) and error.status < 500 else "error"
        raise
    finally:
        timer.end(time.perf_counter(), failure=failure)


async def _follow(deltas: AsyncIterator[Delta], stats: RequestStats) -> AsyncGenerator[Delta, None]:
    try:
        with _timed(stats) as timer:
            async for delta in deltas:
                now_s = time.perf_counter()
                timer.see(delta, now_s)
                yield delta if delta.usage is None else replace(delta, timings=timer.timings(now_s, delta.usage))
    finally:
        # An async for that is left early leaves its iterator open; only closing it cancels the request.
        aclose = getattr(deltas, "aclose", None)
        if aclose is not None:
            await aclose()


async def _count(work: Coroutine[Any, Any, _AnswerT], stats: RequestStats) -> _AnswerT:
    with _timed(stats) as timer:
        answer = await work
        timer.see(Delta(finish_reason="stop", usage=answer.usage), time.perf_counter())
    return answer
