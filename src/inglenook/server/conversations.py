"""The items that a response goes on from: of stored responses, of references, of its own input; cut to the context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.responses.input import Item
from inglenook.dialects.responses.requests import ResponseCall
from inglenook.errors import InvalidRequestError, NotFoundError
from inglenook.gateway.response_store import ResponseStore, StoredResponse
from inglenook.gateway.router import Router
from inglenook.types import ChatRequest

_TEMPLATE_TOKENS = 32  # that a template writes around a message, at most


async def earlier_items(store: ResponseStore, owner: str, call: ResponseCall) -> list[Item]:
    """Those of the responses that it goes on from. Raises NotFoundError."""
    previous_id = call.skeleton.previous_response_id
    if previous_id is None:
        return []
    return await asyncio.to_thread(_chain_items, store, owner, previous_id)


async def own_items(store: ResponseStore, owner: str, call: ResponseCall) -> list[Item]:
    """Those of the request, with the items that it refers to in place of references. Raises NotFoundError."""
    items = []
    for index, item in enumerate(call.items):
        if item["type"] == "item_reference":
            item = await asyncio.to_thread(_stored_item, store, owner, item["id"], f"input[{index}]")
        items.append(item)
    return items


def _chain_items(store: ResponseStore, owner: str, previous_id: str) -> list[Item]:
    try:
        chain = store.chain(previous_id, owner)
    except NotFoundError as error:
        raise NotFoundError(error.message, param="previous_response_id", code="previous_response_not_found") from None
    if chain[-1].status == "in_progress":
        raise InvalidRequestError(
            f"The response {previous_id!r} is still in progress; wait for its end.", param="previous_response_id"
        )
    return [item for response in chain for item in all_items(response)]


def all_items(response: StoredResponse) -> list[Item]:
    return [*msgspec.json.decode(response.input), *msgspec.json.decode(response.body)["output"]]


def _stored_item(store: ResponseStore, owner: str, item_id: str, where: str) -> Item:
    response = store.with_item(item_id, owner)
    for item in () if response is None else all_items(response):
        if item["id"] == item_id:
            return dict(item)
    raise NotFoundError(f"{where}: there is no stored item {item_id[:80]!r}.", param=where, code="item_not_found")


# --- truncation -----------------------------------------------------------------------------------


async def fitting(router: Router, call: ResponseCall, items: Sequence[Item]) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request for these items, and a warning where truncation: "auto" left out the oldest of them.

    Whole turns are left out, each from a user's message to the next. What a system or developer message says stays.
    """
    request = call.with_items(items)
    if call.skeleton.truncation == "disabled":
        return request, ()
    context = router.model(router.resolve(request.model)).max_model_len
    room = min(call.skeleton.max_output_tokens or context // 8, context // 2)
    most = encode_json([items, call.skeleton.tools, call.skeleton.instructions])  # no token is shorter than a byte
    if len(most) + _TEMPLATE_TOKENS * (len(items) + 8) <= context - room:
        return request, ()
    starts = [0, *(i for i, item in enumerate(items) if i > 0 and item.get("role") == "user")]
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        [prompt] = await router.render(call.with_items(_from(items, starts[middle])))
        if len(prompt.token_ids) <= context - room:
            high = middle
        else:
            low = middle + 1
    kept = _from(items, starts[low])
    if len(kept) == len(items):
        return request, ()
    num_left_out = len(items) - len(kept)
    warning = f"truncation: the oldest {num_left_out} items were left out, so that the input fits the context."
    return call.with_items(kept), (warning,)


def _from(items: Sequence[Item], start: int) -> list[Item]:
    kept = [item for i, item in enumerate(items) if i >= start or item.get("role") in ("system", "developer")]
    calls = {item["call_id"] for item in kept if item["type"] in ("function_call", "custom_tool_call")}
    return [item for item in kept if not item["type"].endswith("_output") or item["call_id"] in calls]
