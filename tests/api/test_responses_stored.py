"""Responses that are kept: fetched, listed, streamed again, deleted, cancelled, counted; whose they are."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.calls import call
from fixtures.response_schemas import check_response, read_events
from fixtures.responses_served import ServedResponses, serve_responses
from inglenook.errors import EngineError
from inglenook.server import background

THOUGHT = "<think>Hm.</think>Hello"


async def fetch(served: ServedResponses, response_id: str) -> dict[str, Any]:
    answer = await served.http.get(f"/responses/{response_id}")
    assert answer.status_code == 200, answer.text
    return check_response(answer.json())


async def ended(served: ServedResponses, response_id: str) -> dict[str, Any]:
    """A background response when it has ended."""
    for _ in range(400):
        response = await fetch(served, response_id)
        if response["status"] != "in_progress":
            return response
        await asyncio.sleep(0.01)
    raise AssertionError("it doesn't end")


async def test_fetched_as_it_was(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    whole = await served.create()
    assert await fetch(served, whole["id"]) == whole
    streamed = (await served.stream())[-1]["response"]
    assert await fetch(served, streamed["id"]) == streamed


async def test_not_kept(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    response = await served.create(store=False)
    assert response["store"] is False
    assert os.listdir(tmp_path) == []
    assert (await served.http.get(f"/responses/{response['id']}")).status_code == 404
    error = await served.error(previous_response_id=response["id"], status=404)
    assert (error["param"], error["code"]) == ("previous_response_id", "previous_response_not_found")


async def test_a_server_that_keeps_nothing() -> None:
    served = serve_responses(None, THOUGHT)
    assert (await served.create())["store"] is False
    for fields in ({"store": True}, {"background": True}, {"previous_response_id": "resp_1"}):
        assert "--response-store off" in (await served.error(**fields))["message"]


async def test_deleted(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    response = await served.create()
    path = f"/responses/{response['id']}"
    answer = await served.http.delete(path)
    assert answer.json() == {"id": response["id"], "object": "response", "deleted": True}
    for again in (served.http.delete(path), served.http.get(path), served.http.get(f"{path}/input_items")):
        error = (await again).json()["error"]
        assert (error["code"], error["param"]) == ("response_not_found", "response_id")


async def test_input_items_by_pages(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    response = await served.create([{"role": "user", "content": str(i)} for i in range(5)])
    listed = await served.items(response["id"])
    assert [item["content"][0]["text"] for item in listed["data"]] == list("43210")
    assert (listed["has_more"], listed["first_id"]) == (False, listed["data"][0]["id"])
    pages, after = [], {}
    while True:
        page = await served.items(response["id"], limit=2, order="asc", **after)
        pages.append([item["content"][0]["text"] for item in page["data"]])
        after = {"after": page["last_id"]}
        if not page["has_more"]:
            break
    assert pages == [["0", "1"], ["2", "3"], ["4"]]
    for query in ({"limit": "0"}, {"limit": "101"}, {"order": "up"}, {"after": "msg_other"}):
        answer = await served.http.get(f"/responses/{response['id']}/input_items", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


async def test_streamed_again(tmp_path: Path) -> None:
    calls = "So: " + call("f") + "\n" + call("c", input="text")
    served = serve_responses(tmp_path, THOUGHT, calls, THOUGHT)
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]
    asked: list[dict[str, Any]] = [
        {"include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 1},
        {"tools": tools},
        {"max_output_tokens": 10},
    ]
    for fields in asked:
        first = (await served.stream(**fields))[-1]["response"]
        again = read_events((await served.http.get(f"/responses/{first['id']}?stream=true")).text)
        assert again[-1]["response"] == first
        rest = await served.http.get(f"/responses/{first['id']}?stream=true&starting_after=3")
        assert rest.text.count("event: ") == len(again) - 4


async def test_keys_see_their_own(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT, api_key=("key 1", "key 2"), key="key 1")
    response = await served.create()
    served.http.headers["authorization"] = "Bearer key 2"
    path = f"/responses/{response['id']}"
    refused = [
        await served.http.get(path),
        await served.http.delete(path),
        await served.http.post(f"{path}/cancel"),
        await served.http.get(f"{path}/input_items"),
    ]
    assert [answer.status_code for answer in refused] == [404] * 4
    await served.error(previous_response_id=response["id"], status=404)
    await served.error([{"type": "item_reference", "id": response["output"][0]["id"]}], status=404)
    served.http.headers["authorization"] = "Bearer key 1"
    await fetch(served, response["id"])


async def test_counted(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    first = await served.create("Hi", instructions="Be brief.")
    body = {"input": "How?", "previous_response_id": first["id"], "instructions": "Be brief."}
    answer = await served.http.post("/responses/input_tokens", json=body)
    second = await served.create(**body)
    assert answer.json() == {"object": "response.input_tokens", "input_tokens": second["usage"]["input_tokens"]}
    assert len(served.engine.requests) == 2


async def test_a_broken_store_hurts_only_those_who_need_it(tmp_path: Path) -> None:
    (tmp_path / "responses.sqlite").write_bytes(b"no database" * 1000)
    served = serve_responses(tmp_path, THOUGHT)
    for stream in (False, True):
        error = await served.error(status=500, stream=stream)
        assert (error["code"], "store: false" in error["message"]) == ("storage_error", True)
    assert served.engine.requests == []  # told before anything is computed
    await served.create(store=False)
    await served.stream(store=False)
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    assert (await served.http.post("/chat/completions", json=chat)).status_code == 200


async def test_a_store_that_breaks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve_responses(tmp_path, THOUGHT)
    monkeypatch.setattr(served.store, "keep", broken)
    for response in (await served.create(), (await served.stream())[-1]["response"]):
        assert response["store"] is False
        assert any("disk" in text for text in response["warnings"])


def broken(*_: Any) -> None:
    from inglenook.errors import StorageError

    raise StorageError("The disk is full.")


async def test_an_engine_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve_responses(tmp_path, "Hello")
    generate = served.engine.generate

    async def fail_after_some(*requests: Any) -> AsyncIterator[Any]:
        async for number, output in _numbered(generate(*requests)):
            yield output
            if number == 2:
                raise EngineError("It broke.")

    monkeypatch.setattr(served.engine, "generate", fail_after_some)
    told = await served.stream()
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    assert told[-1]["response"]["error"] == {"code": "server_error", "message": "It broke."}
    assert (told[-2]["code"], told[-2]["message"]) == ("engine_error", "It broke.")
    await served.error(status=500)


async def _numbered(outputs: AsyncIterator[Any]) -> AsyncIterator[tuple[int, Any]]:
    number = 0
    async for output in outputs:
        yield number, output
        number += 1


# --- in the background ----------------------------------------------------------------------------


async def test_in_the_background(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, THOUGHT, "Fine.")
    begun = await served.create(background=True)
    assert (begun["status"], begun["background"], begun["output"]) == ("in_progress", True, [])
    response = await ended(served, begun["id"])
    assert response["status"] == "completed"
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    await served.create("And?", previous_response_id=begun["id"])
    assert "Hm.</think>Hello" in served.prompt()
    cancelled = await served.http.post(f"/responses/{begun['id']}/cancel")
    assert cancelled.json() == response  # too late
    streamed = read_events((await served.http.get(f"/responses/{begun['id']}?stream=true")).text)
    assert streamed[-1]["response"] == response


async def test_one_that_fails_in_the_background(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "Hello")
    begun = await served.create("x" * 200_000, background=True)
    response = await ended(served, begun["id"])
    assert (response["status"], response["error"]["code"]) == ("failed", "invalid_prompt")
    told = read_events((await served.http.get(f"/responses/{begun['id']}?stream=true")).text)
    assert told[-1]["type"] == "response.failed"


@pytest.mark.parametrize("way", ["cancel", "delete", "elsewhere"])
async def test_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    served = serve_responses(tmp_path, "Hello")
    monkeypatch.setattr(background, "BEAT_S", 0.02)
    has_stopped = asyncio.Event()

    async def never_ends(*requests: Any) -> AsyncIterator[Any]:
        served.engine.requests += requests
        try:
            await asyncio.Event().wait()
        finally:
            has_stopped.set()
        yield

    monkeypatch.setattr(served.engine, "generate", never_ends)
    begun = await served.create(background=True)
    error = await served.error("And?", previous_response_id=begun["id"])
    assert "in progress" in error["message"]
    path = f"/responses/{begun['id']}"
    if way == "delete":
        await served.http.delete(path)
    elif way == "elsewhere":  # by another server with the same file
        other = serve_responses(tmp_path, "Hello")
        assert (await other.http.post(f"{path}/cancel")).json()["status"] == "cancelled"
    else:
        assert check_response((await served.http.post(f"{path}/cancel")).json())["status"] == "cancelled"
    await asyncio.wait_for(has_stopped.wait(), 5)
    if way != "delete":
        assert (await fetch(served, begun["id"]))["status"] == "cancelled"
    assert served.state.router.num_running == 0


async def test_only_background_responses_can_be_cancelled(tmp_path: Path) -> None:
    served = serve_responses(tmp_path, "Hello")
    response = await served.create()
    answer = await served.http.post(f"/responses/{response['id']}/cancel")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_id")


async def test_a_server_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve_responses(tmp_path, "Hello")
    monkeypatch.setattr("inglenook.server.routes.responses.start_background", lambda *_, **__: None)
    begun = await served.create(background=True)
    assert (await fetch(served, begun["id"]))["status"] == "in_progress"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + background.SILENT_S + 1)
    response = await fetch(served, begun["id"])
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
