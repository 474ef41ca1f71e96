"""Two engines behind one address, and one of them breaks: who is told what, and who goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from inglenook.backends.load import WantedModel, load_backends
from inglenook.backends.local import LocalBackend
from inglenook.config import EngineSettings, ModelSettings, ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.store.store import ModelFiles

ENGINE = EngineSettings(threads=1, max_num_seqs=4, max_num_batched_tokens=32)


@pytest.fixture
async def backends() -> AsyncIterator[list[LocalBackend]]:
    files = ModelFiles(None, "dummy:tiny", "dummy")
    loaded = load_backends(
        [WantedModel(files, ModelSettings(model="dummy:tiny", served_model_name=(n,)), ENGINE) for n in ("a", "b")]
    )
    yield loaded  # type: ignore[misc]
    for backend in loaded:
        await backend.close()


async def test_the_other_goes_on(backends: list[LocalBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(Router(backends), ServerSettings(), version="0")

    def fail() -> None:
        raise SystemExit("not an Exception: the engine's thread ends")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:

        async def ask(model: str, *, stream: bool = False) -> httpx.Response:
            body = {"model": model, "prompt": "x", "max_tokens": 3, "stream": stream}
            return await http.post("/v1/completions", json=body)

        assert [(await ask(model)).status_code for model in "ab"] == [200, 200]
        monkeypatch.setattr(backends[1].engine._engine, "step", fail)
        for stream in (False, True):  # the request that breaks it, and one that finds it broken
            answer = await ask("b", stream=stream)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        answer = await ask("a")
        assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 3)
        health = await http.get("/health")
        assert health.status_code == 503
        assert "engine of b has failed" in health.json()["error"]["message"]
        metrics = (await http.get("/metrics")).text
        for name in "ab":
            assert f'inglenook:num_requests_running{{model_name="{name}"}} 0.0' in metrics
        assert 'inglenook:request_success_total{finished_reason="error",model_name="b"} 2.0' in metrics
