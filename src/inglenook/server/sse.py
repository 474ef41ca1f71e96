"""Server-sent events (HTML standard, section 9.2) for streamed answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inglenook.errors import InglenookError
from inglenook.server.answer import Answer, ClientGoneError
from inglenook.server.errors import REQUEST_ID, unexpected
from inglenook.server.warning_header import warning_header
from inglenook.types import Delta

_HEADERS = {
    "content-type": "text/event-stream",  # bare, as some clients compare it: events are UTF-8 anyway
    "cache-control": "no-cache",  # proxies that cache or buffer would hold the tokens back
    "x-accel-buffering": "no",
}
_log = logging.getLogger(__name__)


class StreamEncoder(Protocol):
    """What a dialect makes of deltas: each method returns the data of the events to send, in order."""

    def encode(self, delta: Delta) -> list[bytes]: ...

    def end(self) -> list[bytes]: ...

    def fail(self, error: InglenookError) -> list[bytes]: ...


class EventStream(Response):
    """Waits for the first delta before it sends anything, so that an early error is a plain HTTP one."""

    def __init__(self, answer: Answer, encoder: StreamEncoder, warnings: Sequence[str]) -> None:
        self._answer = answer
        self._encoder = encoder
        self._warnings = warnings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._answer as answer:
            batch = await answer.next_batch()
            self.status_code = 200
            self.init_headers({**_HEADERS, **warning_header(self._warnings, batch)})
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            encoder = self._encoder
            try:
                while batch:
                    events = [event for delta in batch for event in encoder.encode(delta)]
                    if events:
                        await send({"type": "http.response.body", "body": frame(events), "more_body": True})
                    batch = await answer.next_batch()
                last = encoder.end()
            except ClientGoneError:
                return
            except InglenookError as error:
                last = encoder.fail(error)
            except Exception:
                _log.exception("Request %s broke off in its stream.", scope.get(REQUEST_ID))
                last = encoder.fail(unexpected(scope))
            await send({"type": "http.response.body", "body": frame(last)})


def frame(events: list[bytes]) -> bytes:
    """`data:` lines, each event closed by an empty line. The data has no line breaks, as JSON escapes them."""
    return b"".join([b"data: %b\n\n" % event for event in events])
