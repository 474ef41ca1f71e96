"""The choices of one request together: made, and summed up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from inglenook.backends.choice import Choice
from inglenook.engine.request import EngineOutput, EngineRequest, ScoredToken
from inglenook.types import Usage


def samples(request: EngineRequest, num_choices: int, first_index: int) -> list[EngineRequest]:
    """n requests for n choices: different ids, and different seeds where the client gave one.

    Only the first asks for the log-probabilities of the prompt.
    """
    requests = []
    for sample in range(num_choices):
        seed = request.sampling.seed
        if seed is not None and sample > 0:
            seed = (seed + sample + 2**63) % 2**64 - 2**63
        requests.append(
            replace(
                request,
                request_id=f"{request.request_id}-{first_index + sample}",
                sampling=replace(
                    request.sampling,
                    seed=seed,
                    prompt_logprobs=None if sample > 0 else request.sampling.prompt_logprobs,
                ),
            )
        )
    return requests


async def with_shared_scores(
    outputs: AsyncGenerator[EngineOutput, None], requests: Sequence[EngineRequest], num_choices: int
) -> AsyncGenerator[EngineOutput, None]:
    """The outputs of all choices, those of a prompt not before its log-probabilities: each has them in its first."""
    indexes = {request.request_id: index for index, request in enumerate(requests)}
    scores: dict[int, tuple[ScoredToken, ...] | None] = {}  # of each prompt
    held: dict[int, list[EngineOutput]] = {}
    begun: set[str] = set()
    async with aclosing(outputs):
        async for output in outputs:
            index = indexes[output.request_id]
            prompt = index // num_choices
            if prompt not in scores:
                if index % num_choices > 0:
                    held.setdefault(prompt, []).append(output)
                    continue
                scores[prompt] = output.prompt_scores
            for ready in (output, *held.pop(prompt, ())):
                is_first = ready.request_id not in begun
                begun.add(ready.request_id)
                yield ready._replace(prompt_scores=scores[prompt] if is_first else None)


def usage(prompts: Sequence[list[int]], choices: Sequence[Choice], num_choices: int) -> Usage:
    """Each prompt counts once, whatever the number of its choices."""
    return Usage(
        prompt_tokens=sum(map(len, prompts)),
        completion_tokens=sum(choice.num_tokens for choice in choices),
        cached_tokens=sum(choice.num_cached_tokens for choice in choices[::num_choices]),
        reasoning_tokens=sum(choice.num_reasoning_tokens for choice in choices),
    )
