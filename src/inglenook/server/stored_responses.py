"""Responses in the store, for the routes: whose they are, whether one is kept, and how it is found again."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request

from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.responses import answers as responses
from inglenook.dialects.responses import wire
from inglenook.dialects.responses.input import Item
from inglenook.dialects.responses.requests import ResponseCall
from inglenook.gateway.response_store import ResponseStore, StoredResponse
from inglenook.server.auth import owner_of
from inglenook.server.background import SILENT_S
from inglenook.server.state import state_of


def owner_of_request(request: Request) -> str:
    return owner_of(request.scope["headers"], state_of(request).settings.api_key)


async def is_kept(store: ResponseStore, call: ResponseCall) -> bool:
    """Raises StorageError, before anything is computed, where the answer couldn't be kept."""
    if not call.skeleton.store or not (store.is_on or call.must_store):
        return False
    await asyncio.to_thread(store.check)
    return True


def keep_response(store: ResponseStore, owner: str, items: list[Item], response: wire.Response) -> None:
    stored = StoredResponse(
        response.id,
        response.previous_response_id,
        response.status,
        time.time(),
        encode_json(response),
        encode_json(items),
    )
    store.keep(stored, owner, responses.item_ids(response, items))


async def stored_response(request: Request) -> StoredResponse:
    """Raises NotFoundError. One that is in progress and whose server has stopped is ended here."""
    state, owner, response_id = state_of(request), owner_of_request(request), request.path_params["response_id"]
    stored = await asyncio.to_thread(state.responses.get, response_id, owner)
    if stored.status == "in_progress" and time.time() - stored.used_at > SILENT_S:
        body = responses.silent_body(stored.body)
        await asyncio.to_thread(state.responses.end, response_id, owner, "failed", body)
        stored = await asyncio.to_thread(state.responses.get, response_id, owner)
    return stored
