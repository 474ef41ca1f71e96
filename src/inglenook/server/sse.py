"""Streamed answers: as server-sent events (HTML standard, section 9.2), or framed in another way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inglenook.errors import InglenookError
from inglenook.server.answer import Answer, ClientGoneError
from inglenook.server.errors import REQUEST_ID, unexpected
from inglenook.server.warning_header import warning_header
from inglenook.types import Delta

_HEADERS = {
    "cache-control": "no-cache",  # proxies that cache or buffer would hold the tokens back
    "x-accel-buffering": "no",
}
KEEP_ALIVE_S = 15.0  # half of what proxies and load balancers allow at least
_log = logging.getLogger(__name__)


class NamedEvent(NamedTuple):
    """An event with a line that names it, as Anthropic's and those of OpenAI's Responses are."""

    name: bytes
    data: bytes


Event = bytes | tuple[bytes, bytes]  # a NamedEvent, by the second


class StreamEncoder(Protocol):
    """What a dialect makes of deltas: each method returns the events to send, in order. Events hold no line breaks."""

    def encode(self, delta: Delta) -> Sequence[Event]: ...

    def end(self) -> Sequence[Event]: ...

    def fail(self, error: InglenookError) -> Sequence[Event]: ...


@dataclass(frozen=True)
class Framing:
    """How events become the bytes of a body. `keep_alive` is what readers pass over, where there is such a thing."""

    content_type: str
    frame: Callable[[Sequence[Event]], bytes]
    keep_alive: bytes = b""


def frame(events: Sequence[Event]) -> bytes:
    """`data:` lines, each event closed by an empty line. The data has no line breaks, as JSON escapes them."""
    return b"".join(
        b"data: %b\n\n" % event if isinstance(event, bytes) else b"event: %b\ndata: %b\n\n" % event for event in events
    )


# The content type is bare, as some clients compare it: events are UTF-8 anyway.
EVENTS = Framing("text/event-stream", frame, b": keep-alive\n\n")


class EventStream(Response):
    """Waits for the first delta before it sends anything, so that an early error is a plain HTTP one.

    A long prompt would make proxies and clients give up: after KEEP_ALIVE_S the answer begins without it, as by then
    the request has been found good. From there on comments keep silent connections alive.
    """

    def __init__(
        self, answer: Answer[Delta], encoder: StreamEncoder, warnings: Sequence[str], framing: Framing = EVENTS
    ) -> None:
        self._answer = answer
        self._encoder = encoder
        self._warnings = warnings
        self._framing = framing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._answer as answer:
            is_silent = bool(self._framing.keep_alive) and not await answer.is_ready_within(KEEP_ALIVE_S)
            batch = [] if is_silent else await answer.next_batch()
            self.status_code = 200
            frame = self._framing.frame
            self.init_headers(
                {"content-type": self._framing.content_type, **_HEADERS, **warning_header(self._warnings, batch)}
            )
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            encoder = self._encoder
            try:
                if is_silent:
                    batch = await self._next_batch(answer, send, is_silent=True)
                while batch:
                    events = [event for delta in batch for event in encoder.encode(delta)]
                    if events:
                        await send({"type": "http.response.body", "body": frame(events), "more_body": True})
                    batch = await self._next_batch(answer, send)
                last = [*encoder.end()]
            except ClientGoneError:
                return
            except InglenookError as error:
                last = [*encoder.fail(error)]
            except Exception:
                _log.exception("Request %s broke off in its stream.", scope.get(REQUEST_ID))
                last = [*encoder.fail(unexpected(scope))]
            await send({"type": "http.response.body", "body": frame(last)})

    async def _next_batch(self, answer: Answer[Delta], send: Send, *, is_silent: bool = False) -> list[Delta]:
        keep_alive = self._framing.keep_alive
        while keep_alive and (is_silent or not await answer.is_ready_within(KEEP_ALIVE_S)):
            is_silent = False
            await send({"type": "http.response.body", "body": keep_alive, "more_body": True})
        return await answer.next_batch()
