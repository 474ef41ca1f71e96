"""The choices of one request together: made, and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inglenook.backends.choice import Choice
from inglenook.engine.request import EngineRequest
from inglenook.types import Usage


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


def usage(prompts: Sequence[list[int]], choices: Sequence[Choice], num_choices: int) -> Usage:
    """Each prompt counts once, whatever the number of its choices."""
    return Usage(
        prompt_tokens=sum(map(len, prompts)),
        completion_tokens=sum(choice.num_tokens for choice in choices),
        cached_tokens=sum(choice.num_cached_tokens for choice in choices[::num_choices]),
        reasoning_tokens=sum(choice.num_reasoning_tokens for choice in choices),
    )
