"""The best of several answers to each prompt: those whose tokens are likeliest on average."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from inglenook.errors import InvalidRequestError
from inglenook.types import MAX_CHOICES, CompletionRequest, Delta

Answer = Callable[[CompletionRequest], AsyncGenerator[Delta, None]]


async def choose_best(answer: Answer, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
    """The num_choices best of best_of answers, best first; nothing comes before all are complete.

    `answer` answers a request without best_of. Usage is that of all answers. Raises InvalidRequestError.
    """
    num_samples, num_wanted = request.best_of or 0, request.num_choices
    if not num_wanted <= num_samples <= MAX_CHOICES:
        raise InvalidRequestError(
            f"best_of is {num_samples}; it must be between n, {num_wanted}, and {MAX_CHOICES}.", param="best_of"
        )
    has_logprobs = request.sampling.logprobs is not None
    sampling = request.sampling if has_logprobs else replace(request.sampling, logprobs=0)
    pieces: dict[int, list[Delta]] = {}
    async with aclosing(answer(replace(request, best_of=None, num_choices=num_samples, sampling=sampling))) as deltas:
        async for delta in deltas:
            pieces.setdefault(delta.index, []).append(delta)
    usage = next((delta.usage for choice in pieces.values() for delta in choice if delta.usage is not None), None)
    warnings = tuple(w for _, choice in sorted(pieces.items()) for delta in choice for w in delta.warnings)
    chosen: list[Delta] = []
    for prompt in range(len(request.prompts)):
        samples = [pieces[prompt * num_samples + sample] for sample in range(num_samples)]
        samples.sort(key=lambda choice: -(choice[-1].mean_logprob or 0.0))
        for place, choice in enumerate(samples[:num_wanted]):
            index = prompt * num_wanted + place
            chosen += [replace(delta, index=index, usage=None, warnings=()) for delta in choice]
    for position, delta in enumerate(chosen):
        is_last = position == len(chosen) - 1
        yield replace(
            delta,
            logprobs=delta.logprobs if has_logprobs else (),
            warnings=warnings if position == 0 else (),
            usage=usage if is_last else None,
        )
