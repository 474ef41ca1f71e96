"""Responses on their way out: put together from deltas, kept in the store, told as events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.responses.answers import ResponseEvents, ResponseWriter
from inglenook.dialects.responses.events import Event
from inglenook.dialects.responses.wire import Response
from inglenook.errors import InglenookError
from inglenook.server.sse import NamedEvent
from inglenook.types import Delta


class KeptAnswer:
    """Deltas handed on; when they have ended, `response` is the answer, and kept: before a client can hear of its end.

    Where it can't be kept, it says so itself.
    """

    response: Response

    def __init__(
        self,
        deltas: AsyncGenerator[Delta, None],
        finish: Callable[[list[Delta]], Response],
        keep: Callable[[Response], None] | None,
    ) -> None:
        self._deltas = deltas
        self._finish = finish
        self._keep = keep

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        collected = []
        async with aclosing(self._deltas) as deltas:
            async for delta in deltas:
                collected.append(delta)
                yield delta
        self.response = self._finish(collected)
        if self._keep is None:
            return
        try:
            await asyncio.to_thread(self._keep, self.response)
        except InglenookError as error:
            warnings = [*(self.response.warnings or ()), f"store: {error.message}"]
            self.response = replace(self.response, store=False, warnings=warnings)


class ResponseStream:
    """The StreamEncoder of a Response."""

    def __init__(self, writer: ResponseWriter, answer: KeptAnswer) -> None:
        self._events = ResponseEvents(writer)
        self._answer = answer

    def encode(self, delta: Delta) -> list[NamedEvent]:
        return named(self._events.encode(delta))

    def end(self) -> list[NamedEvent]:
        return named(self._events.end(self._answer.response))

    def fail(self, error: InglenookError) -> list[NamedEvent]:
        return named(self._events.fail(error))


def named(events: Sequence[Event]) -> list[NamedEvent]:
    return [NamedEvent(event.kind.encode(), encode_json(event)) for event in events]
