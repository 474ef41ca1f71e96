"""POST /invocations goes by what a body has; GET /ping is open."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest

from fixtures import huggingface_schemas as huggingface
from fixtures import openai_shapes as openai
from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app


@pytest.mark.parametrize(
    ("body", "schema"),
    [
        ({"messages": [{"role": "user", "content": "Hi"}]}, openai.CHAT_COMPLETION),
        ({"prompt": "Hi"}, openai.COMPLETION),
        ({"inputs": "Hi"}, huggingface.GENERATED_LIST),
    ],
)
async def test_invocations(http: httpx.AsyncClient, body: dict[str, Any], schema: dict[str, Any]) -> None:
    response = await http.post("/invocations", json=body)
    assert response.status_code == 200
    jsonschema.validate(response.json(), schema)


@pytest.mark.parametrize(
    ("body", "status", "schema"),
    [
        ({"messages": []}, 400, openai.ERROR),
        ({"inputs": ""}, 422, huggingface.ERROR),
        ({}, 400, openai.ERROR),
        ({"inputs": "Hi", "prompt": "Hi"}, 400, openai.ERROR),
    ],
)
async def test_errors(http: httpx.AsyncClient, body: dict[str, Any], status: int, schema: dict[str, Any]) -> None:
    response = await http.post("/invocations", json=body)
    assert response.status_code == status
    jsonschema.validate(response.json(), schema)


async def test_ping_needs_no_key() -> None:
    app = create_app(Router([]), ServerSettings(api_key=("secret",)), version="0")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert (await http.get("/ping")).status_code == (await http.get("/health")).status_code == 503
        assert (await http.post("/invocations", json={"inputs": "Hi"})).status_code == 401
