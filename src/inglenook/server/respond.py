"""From what the router gives to a response, streamed or whole: the same for every dialect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from inglenook.backends.off_loop import inline_or_thread
from inglenook.server.answer import Answer
from inglenook.server.sse import EVENTS, EventStream, Framing, StreamEncoder
from inglenook.server.state import state_of
from inglenook.server.warning_header import warning_header
from inglenook.types import Delta

T = TypeVar("T")

_INLINE_NUMBERS = 16384  # about 1 ms


def stream_response(
    request: Request,
    deltas: AsyncGenerator[Delta, None],
    encoder: StreamEncoder,
    *,
    warnings: Sequence[str] = (),
    framing: Framing = EVENTS,
) -> Response:
    """Events as the deltas come. `warnings` go into a header, before those of the deltas."""
    return EventStream(Answer(deltas, request.receive, state_of(request).answers), encoder, warnings, framing)


async def whole_response(
    request: Request,
    deltas: AsyncGenerator[Delta, None],
    encode: Callable[[list[Delta]], bytes],
    *,
    warnings: Sequence[str] = (),
) -> Response:
    """One JSON body of all deltas. Raises what the deltas raise, and ClientGoneError."""
    async with Answer(deltas, request.receive, state_of(request).answers) as answer:
        collected: list[Delta] = []
        while batch := await answer.next_batch():
            collected += batch
    return json_response(encode(collected), warning_header(warnings, collected))


async def awaited(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled where the client closes its connection. Raises what `work` raises, and
    ClientGoneError. The request's body must have been read before."""

    async def pieces() -> AsyncGenerator[T, None]:
        yield await work

    try:
        async with Answer(pieces(), request.receive, state_of(request).answers) as answer:
            [result] = await answer.next_batch()
        return result
    finally:
        work.close()  # no-op, unless it was never begun


async def encoded(num_numbers: int, encode: Callable[[], bytes]) -> bytes:
    """What `encode` gives. Answers of many numbers are encoded on another thread, so that streams go on meanwhile."""
    return await inline_or_thread(num_numbers > _INLINE_NUMBERS, encode)


def json_response(body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, headers=headers, media_type="application/json")
