"""Responses that are answered without a client that waits: each in a task, its end written into the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable

from starlette.types import Message

from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.responses.answers import item_ids
from inglenook.dialects.responses.wire import Response
from inglenook.errors import InglenookError, UnavailableError
from inglenook.server.answer import Answer
from inglenook.server.state import ServerState
from inglenook.types import Delta

_log = logging.getLogger(__name__)

BEAT_S = 1.0  # between two looks into the store: was it cancelled?
SILENT_S = 60.0  # without a beat: its server has died


def start_background(
    state: ServerState,
    deltas: AsyncGenerator[Delta, None],
    finish: Callable[[list[Delta] | InglenookError], Response],
    *,
    response_id: str,
    owner: str,
) -> None:
    """`finish` makes the answer of all deltas, or of an error. The response is in the store already."""
    task = asyncio.create_task(_run(state, deltas, finish, response_id, owner))
    state.in_background[response_id] = task
    task.add_done_callback(lambda _: state.in_background.pop(response_id, None))


async def end_background(state: ServerState) -> None:
    """At the server's end: those that still run fail, and it is written down."""
    state.end_answers(UnavailableError("The server was shut down before the answer was complete."))
    await asyncio.gather(*state.in_background.values(), return_exceptions=True)


async def _run(
    state: ServerState,
    deltas: AsyncGenerator[Delta, None],
    finish: Callable[[list[Delta] | InglenookError], Response],
    response_id: str,
    owner: str,
) -> None:
    try:
        response = finish(await _collect(state, deltas, response_id, owner))
    except _CancelledError:
        return
    except InglenookError as error:
        response = finish(error)
    except Exception:
        _log.exception("The background response %s failed.", response_id)
        response = finish(InglenookError(f"The server failed on this request. Its log has the reason: {response_id}."))
    try:
        await asyncio.to_thread(
            state.responses.end, response_id, owner, response.status, encode_json(response), item_ids(response, [])
        )
    except InglenookError as error:
        _log.error("The background response %s is lost: %s", response_id, error.message)


class _CancelledError(Exception):
    """Somebody cancelled or deleted the response."""


async def _collect(
    state: ServerState, deltas: AsyncGenerator[Delta, None], response_id: str, owner: str
) -> list[Delta]:
    collected: list[Delta] = []
    next_beat_s = time.monotonic() + BEAT_S
    async with Answer(deltas, _never, state.answers) as answer:
        while True:
            try:
                batch = await asyncio.wait_for(answer.next_batch(), max(0.001, next_beat_s - time.monotonic()))
            except asyncio.TimeoutError:
                batch = None
            if batch == []:
                return collected
            collected += batch or ()
            if time.monotonic() >= next_beat_s:
                if not await asyncio.to_thread(state.responses.beat, response_id, owner):
                    raise _CancelledError
                next_beat_s = time.monotonic() + BEAT_S


async def _never() -> Message:
    """There is no client that could leave."""
    await asyncio.Event().wait()
    raise AssertionError
