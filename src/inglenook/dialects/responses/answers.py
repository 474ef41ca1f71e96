"""A Response from its deltas, whole and as the events of a stream; and the other bodies of these routes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from inglenook.dialects.openai.answers import encode_json, warnings_body
from inglenook.dialects.responses import events, wire
from inglenook.dialects.responses.input import Item
from inglenook.dialects.responses.output import OutputItems
from inglenook.errors import InglenookError, InvalidRequestError, OverloadedError
from inglenook.types import Delta, Usage


class ResponseWriter:
    """Puts a Response together; its methods return the events that tell of it. `skeleton`: the answer before it began.

    `custom` and `seals_thinking` are as OutputItems has them.
    """

    def __init__(
        self,
        skeleton: wire.Response,
        *,
        custom: frozenset[str] = frozenset(),
        seals_thinking: bool = False,
        warnings: Sequence[str] = (),
    ) -> None:
        self._skeleton = skeleton
        self._items = OutputItems(skeleton.id, custom=custom, seals_thinking=seals_thinking)
        self._warnings = tuple(warnings)
        self._usage = Usage()
        self._is_cut = False

    def begin(self) -> list[events.Event]:
        return [events.Created(response=self._skeleton), events.InProgress(response=self._skeleton)]

    def add(self, delta: Delta) -> list[events.Event]:
        self._warnings += delta.warnings
        self._usage = delta.usage or self._usage
        self._is_cut |= delta.finish_reason == "length"
        return self._items.add(delta)

    def finish(self) -> list[events.Event]:
        """The last of the items. `response` is complete then."""
        return self._items.finish("incomplete" if self._is_cut else "completed")

    def response(self) -> wire.Response:
        return replace(
            self._skeleton,
            status="incomplete" if self._is_cut else "completed",
            incomplete_details=wire.IncompleteDetails() if self._is_cut else None,
            completed_at=None if self._is_cut else int(time.time()),
            output=self._items.items,
            usage=_usage(self._usage),
            warnings=warnings_body(self._warnings),
        )

    def failed(self, error: InglenookError) -> wire.Response:
        return replace(
            self._skeleton,
            status="failed",
            error=response_error(error),
            output=self._items.items,
            warnings=warnings_body(self._warnings),
        )


class ResponseEvents:
    """The numbered events of one answer, as they are to be sent."""

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer
        self._num_sent = 0

    def encode(self, delta: Delta) -> list[events.Event]:
        return self._numbered([*self._begun(), *self._writer.add(delta)])

    def end(self, response: wire.Response) -> list[events.Event]:
        """`response` is the answer as it was kept, of the same deltas."""
        if response.status != "failed":
            return self._numbered([*self._begun(), *self._writer.finish(), _last_event(response)])
        assert response.error is not None
        told = events.Error(code=response.error.code, message=response.error.message, param=None)
        return self._numbered([*self._begun(), told, events.Failed(response=response)])

    def fail(self, error: InglenookError) -> list[events.Event]:
        told = events.Error(code=error.code, message=error.message, param=error.param)
        return self._numbered([*self._begun(), told, events.Failed(response=self._writer.failed(error))])

    def _begun(self) -> list[events.Event]:
        return [] if self._num_sent else self._writer.begin()

    def _numbered(self, told: Sequence[events.Event]) -> list[events.Event]:
        for event in told:
            event.sequence_number = self._num_sent
            self._num_sent += 1
        return list(told)


def whole_response(writer: ResponseWriter, deltas: Iterable[Delta]) -> wire.Response:
    for delta in deltas:
        writer.add(delta)
    writer.finish()
    return writer.response()


def item_ids(response: wire.Response, items: Sequence[Item]) -> list[str]:
    """Of its input, `items`, and its output."""
    return [*(item["id"] for item in items), *(item.id for item in response.output)]


def _last_event(response: wire.Response) -> events.Event:
    kind = events.Incomplete if response.status == "incomplete" else events.Completed
    return kind(response=response)


def response_error(error: InglenookError) -> wire.ResponseError:
    code: wire.ErrorCode = "server_error"
    if isinstance(error, InvalidRequestError):
        code = "invalid_prompt"
    elif isinstance(error, OverloadedError):
        code = "rate_limit_exceeded"
    return wire.ResponseError(code, error.message)


def _usage(usage: Usage) -> wire.ResponseUsage:
    return wire.ResponseUsage(
        usage.prompt_tokens,
        wire.InputTokensDetails(usage.cached_tokens),
        usage.completion_tokens,
        wire.OutputTokensDetails(usage.reasoning_tokens),
        usage.prompt_tokens + usage.completion_tokens,
    )


def cancelled_body(body: bytes) -> bytes:
    """A stored response in progress, when it is so no more."""
    return encode_json({**msgspec.json.decode(body), "status": "cancelled"})


def silent_body(body: bytes) -> bytes:
    """A stored response whose server has stopped before it was complete."""
    error = {"code": "server_error", "message": "The server stopped before the answer was complete."}
    return encode_json({**msgspec.json.decode(body), "status": "failed", "error": error})


# --- other bodies ---------------------------------------------------------------------------------


def deleted_body(response_id: str) -> bytes:
    return encode_json(wire.DeletedResponse(response_id))


def input_tokens_body(num_tokens: int) -> bytes:
    return encode_json(wire.InputTokens(num_tokens))


def item_list_body(items: Sequence[Item], *, has_more: bool) -> bytes:
    first, last = (items[0]["id"], items[-1]["id"]) if items else ("", "")
    return encode_json(wire.ItemList(list(items), first, last, has_more))
