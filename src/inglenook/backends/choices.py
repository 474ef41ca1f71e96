"""The choices of one request together: made, merged into one stream, summed up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from inglenook.backends.choice import Choice
from inglenook.engine.request import EngineRequest
from inglenook.types import Delta, Usage


def samples(request: EngineRequest, num_choices: int, first_index: int) -> list[EngineRequest]:
    """n requests for n choices: different ids, and different seeds where the client gave one."""
    requests = []
    for sample in range(num_choices):
        seed = request.sampling.seed
        if seed is not None and sample > 0:
            seed = (seed + sample + 2**63) % 2**64 - 2**63
        requests.append(
            replace(
                request,
                request_id=f"{request.request_id}-{first_index + sample}",
                sampling=replace(request.sampling, seed=seed),
            )
        )
    return requests


async def merge(streams: Sequence[AsyncGenerator[Delta, None]]) -> AsyncGenerator[Delta, None]:
    """Deltas of several choices in the order in which they come; the first error ends all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as deltas:
            async for delta in deltas:
                yield delta
        return
    ready: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()

    async def pump(stream: AsyncGenerator[Delta, None]) -> None:
        try:
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    ready.put_nowait(delta)
            ready.put_nowait(None)
        except Exception as error:
            ready.put_nowait(error)

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        num_open = len(tasks)
        while num_open:
            item = await ready.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                num_open -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def usage(prompts: Sequence[list[int]], choices: Sequence[Choice], num_choices: int) -> Usage:
    """Each prompt counts once, whatever the number of its choices."""
    return Usage(
        prompt_tokens=sum(map(len, prompts)),
        completion_tokens=sum(choice.num_tokens for choice in choices),
        cached_tokens=sum(choice.num_cached_tokens for choice in choices[::num_choices]),
    )
