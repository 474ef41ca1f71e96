"""Names, counts and closing of the router, over back ends that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from inglenook.backends.base import BackendStats
from inglenook.errors import ContextLengthError, EngineError, ModelNotFoundError, UnavailableError, UnsupportedTaskError
from inglenook.gateway.request_stats import Histogram, RequestStats, RequestTimer
from inglenook.gateway.router import Router
from inglenook.types import (
    ChatRequest,
    CompletionRequest,
    Delta,
    Embeddings,
    EmbedRequest,
    ModelCard,
    SamplingParams,
    Task,
    Timings,
    Usage,
)


class FakeBackend:
    def __init__(
        self,
        *names: str,
        deltas: tuple[Delta | Exception, ...] = (),
        close_error: Exception | None = None,
        task: Task = "generate",
    ):
        self.names = names
        self.task: Task = task
        self.healthy = True
        self.deltas = deltas
        self.close_error = close_error
        self.asked: list[str] = []
        self.num_ended = 0
        self.is_closed = False

    def models(self) -> list[ModelCard]:
        return [ModelCard(name, 0, 1, self.names[0], self.task) for name in self.names]

    async def chat(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.asked.append(request.model)
        try:
            for item in self.deltas:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.num_ended += 1

    def complete(self, request: CompletionRequest) -> AsyncIterator[Delta]:
        raise NotImplementedError

    def stats(self) -> BackendStats:
        return BackendStats()

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.asked.append(request.model)
        return Embeddings(np.ones((1, 2), np.float32), Usage())

    def is_healthy(self) -> bool:
        return self.healthy

    async def close(self) -> None:
        self.is_closed = True
        if self.close_error:
            raise self.close_error


def request(model: str) -> ChatRequest:
    return ChatRequest("id", model, SamplingParams())


async def test_names() -> None:
    first, second = FakeBackend("a", "b"), FakeBackend("b", "c")
    router = Router([first, second])
    assert [card.name for card in router.models()] == ["a", "b", "c"]
    assert router.model("b").root == "a"
    for name in ("", "a", "b", "c", "NotRequired", "default"):
        _ = [delta async for delta in router.chat(request(name))]
    assert (first.asked, second.asked) == (["a", "a", "b", "a", "a"], ["c"])
    assert Router([first, FakeBackend("default")]).resolve("default") == "default"
    for call in (router.model, router.resolve):
        with pytest.raises(ModelNotFoundError, match="a, b, c"):
            call("d")
    with pytest.raises(ModelNotFoundError) as caught:
        router.chat(request("x" * 1000))
    assert len(caught.value.message) < 300
    with pytest.raises(ModelNotFoundError, match="none"):
        Router([]).resolve("")


async def test_a_request_without_a_name_goes_where_its_task_is_done() -> None:
    embedder, chatter = FakeBackend("e", task="embed"), FakeBackend("c")
    router = Router([embedder, chatter], aliases={"text-embedding-3-small": "e"})
    await router.embed(EmbedRequest("1", "default"))
    await router.embed(EmbedRequest("2", "text-embedding-3-small"))
    _ = [delta async for delta in router.chat(request(""))]
    assert (embedder.asked, chatter.asked) == (["e", "e"], ["c"])
    assert (router.resolve("", "embed"), router.resolve("")) == ("e", "c")
    with pytest.raises(UnsupportedTaskError, match="c can"):
        router.chat(request("text-embedding-3-small"))
    with pytest.raises(UnsupportedTaskError, match="No model"):
        await Router([chatter]).embed(EmbedRequest("3", ""))


def test_a_failed_engine_is_named_and_the_others_go_on() -> None:
    first, second = FakeBackend("a"), FakeBackend("b")
    router = Router([first, second])
    second.healthy = False
    assert router.failed() == ["b"]
    assert not router.is_healthy()
    router.chat(request("a"))


async def test_counts() -> None:
    deltas = (
        Delta(0, "a", (1,)),
        Delta(0, "b", (2, 3)),
        Delta(0, "", (), finish_reason="length", usage=Usage(5, 3)),
    )
    router = Router([FakeBackend("a", deltas=deltas)])
    stats = router.served[0].stats
    stream = router.chat(request("a"))
    assert router.num_running == 0
    await anext(stream)
    assert router.num_running == 1
    assert [delta async for delta in stream] == list(deltas[1:])
    assert router.num_running == 0
    assert (stats.num_prompt_tokens, stats.num_generation_tokens) == (5, 3)
    assert stats.finished == {"length": 1}
    assert sum(stats.first_token_s.counts) == sum(stats.request_s.counts) == 1
    assert sum(stats.inter_token_s.counts) == 2


async def test_a_request_that_is_closed_counts_as_abort() -> None:
    backend = FakeBackend("a", deltas=(Delta(0, "a", (1,)), Delta(0, "b", (2,))))
    router = Router([backend])
    async with aclosing(router.chat(request("a"))) as stream:
        await anext(stream)
    stats = router.served[0].stats
    assert (backend.num_ended, router.num_running) == (1, 0)
    assert stats.finished == {"abort": 1}
    assert stats.num_generation_tokens == 1


async def test_a_request_that_fails_counts_as_error() -> None:
    router = Router([FakeBackend("a", deltas=(EngineError("broken"),))])
    with pytest.raises(EngineError):
        await anext(router.chat(request("a")))
    assert router.served[0].stats.finished == {"error": 1}
    assert router.num_running == 0


async def test_what_a_request_cannot_have_is_no_error_of_ours() -> None:
    router = Router([FakeBackend("a", deltas=(ContextLengthError("too long"),))])
    with pytest.raises(ContextLengthError):
        await anext(router.chat(request("a")))
    assert router.served[0].stats.finished == {"refused": 1}


async def test_a_request_that_never_began_counts_nothing() -> None:
    router = Router([FakeBackend("a")])
    await router.chat(request("a")).aclose()
    assert router.served[0].stats == RequestStats() or router.served[0].stats.finished == {}
    assert router.num_running == 0


async def test_stopping() -> None:
    backend = FakeBackend("a", deltas=(Delta(0, "a"), Delta(0, "b")))
    router = Router([backend])
    stream = router.chat(request("a"))
    await anext(stream)
    assert router.is_healthy()
    router.stop_accepting()
    assert not router.is_healthy()
    with pytest.raises(UnavailableError):
        router.chat(request("a"))
    assert [delta.text async for delta in stream] == ["b"]


async def test_closing_goes_on_after_a_failure() -> None:
    first, second = FakeBackend("a", close_error=EngineError("broken")), FakeBackend("b")
    with pytest.raises(EngineError):
        await Router([first, second]).close()
    assert second.is_closed


async def test_cancelled_while_waiting() -> None:
    class Waiting(FakeBackend):
        async def chat(self, request: ChatRequest) -> AsyncIterator[Delta]:
            try:
                await asyncio.sleep(60)
                yield Delta()
            finally:
                self.num_ended += 1

    backend = Waiting("a")
    router = Router([backend])

    async def read() -> None:
        _ = [delta async for delta in router.chat(request("a"))]

    task = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    assert router.num_running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (backend.num_ended, router.num_running) == (1, 0)
    assert router.served[0].stats.finished == {"abort": 1}


def test_histogram() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 5.0):
        histogram.observe(value)
    histogram.observe(2.0, count=3)
    assert histogram.counts == [2, 4, 1]
    assert histogram.sum == 14.0


def test_times_are_by_choice() -> None:
    """Two choices that take turns: the time between two tokens is that between two of the same choice."""
    stats = RequestStats()
    timer = RequestTimer(stats, 0.0)
    for now_s, index in ((1.0, 0), (1.5, 1), (3.0, 0), (4.5, 1)):
        timer.see(Delta(index, "x", (1,)), now_s)
    timer.end(5.0, failure=None)
    assert (stats.first_token_s.sum, stats.inter_token_s.sum, stats.request_s.sum) == (1.0, 5.0, 5.0)
    assert sum(stats.inter_token_s.counts) == 2
    assert stats.num_running == 0


def test_times_of_an_answer() -> None:
    timer = RequestTimer(RequestStats(), 1.0)
    timer.see(Delta(0, "x", (1,)), 2.0)
    timer.see(Delta(0, "yz", (1, 2)), 2.5)
    assert timer.timings(2.5, Usage(10, 3)) == Timings(1.0, 0.5)


@pytest.mark.parametrize(("usage", "timings"), [(Usage(10, 4, 8), (2.0, 4.0)), (Usage(10, 0), (6.0, 0.0))])
def test_times_of_an_answer_in_one_piece(usage: Usage, timings: tuple[float, float]) -> None:
    """No client divides by nothing."""
    timer = RequestTimer(RequestStats(), 1.0)
    timer.see(Delta(0, "text", (1,) * usage.completion_tokens, finish_reason="stop"), 7.0)
    assert timer.timings(7.0, usage) == Timings(*timings)
