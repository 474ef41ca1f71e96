"""Any server that speaks OpenAI's completions with streaming, ignore_eos and prompts of token ids (vLLM's, ours)."""

from __future__ import annotations

import asyncio
import json
import random
import time

import httpx

from peers.base import PeerError, Work, rate

VOCAB_SIZE = 32000  # prompts use ids below this; every model has as many


class OpenAIUrl:
    """`url` ends in /v1; `model` None takes the first that the server lists."""

    def __init__(self, url: str, model: str | None = None) -> None:
        self.name = url
        self._url = url.rstrip("/")
        self._random = random.Random(0)
        try:
            models = httpx.get(f"{self._url}/models", timeout=30).raise_for_status().json()["data"]
        except (httpx.HTTPError, KeyError, ValueError) as error:
            raise PeerError(f"{url} lists no models: {error}") from error
        self._model = model or models[0]["id"]
        self.version = f"model {self._model}"

    def measure(self, work: Work) -> float:
        return asyncio.run(self._measure(work))

    def close(self) -> None:
        pass

    async def _measure(self, work: Work) -> float:
        async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None)) as client:
            start = time.perf_counter()
            try:
                times = await asyncio.gather(*(self._stream(client, work) for _ in range(work.num_sequences)))
            except httpx.HTTPError as error:
                raise PeerError(f"{self.name}: {error!r}") from error
        return rate(work, start, times)

    async def _stream(self, client: httpx.AsyncClient, work: Work) -> list[float]:
        """When each token came. A piece of the stream may hold several, or none that makes text: those that the final
        count knows and the pieces don't show are taken to have come with the last one.
        """
        body = {
            "model": self._model,
            "prompt": [self._random.randrange(VOCAB_SIZE) for _ in range(work.num_prompt_tokens)],
            "max_tokens": work.num_tokens,
            "temperature": 0.0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        times: list[float] = []
        count = 0
        async with client.stream("POST", f"{self._url}/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise PeerError(f"{self.name} answers {response.status_code}: {(await response.aread())[:500]!r}")
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line.removeprefix("data: "))
                if event.get("choices"):
                    times.append(time.perf_counter())
                count = (event.get("usage") or {}).get("completion_tokens", count)
        if count != work.num_tokens or not times:
            raise PeerError(f"{self.name} gave {count} tokens, not {work.num_tokens}; does it know ignore_eos?")
        return (times + [times[-1]] * count)[:count]
