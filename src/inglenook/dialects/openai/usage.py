"""How many tokens an answer took, and how long: as the answer goes on, and in OpenAI's and llama.cpp's JSON."""

from __future__ import annotations

from dataclasses import replace

from inglenook.dialects.openai import wire
from inglenook.types import AnsweredPrompt, Delta, Timings, Usage


class UsageSoFar:
    """Sums up what a stream's deltas tell of its usage; in the end what the last one says."""

    def __init__(self, num_choices: int) -> None:
        """`num_choices` are those of each prompt."""
        self._num_choices = num_choices
        self._prompts: dict[int, AnsweredPrompt] = {}
        self.num_generated = 0
        self._total: Usage | None = None

    def see(self, delta: Delta) -> None:
        if delta.prompt is not None:
            self._prompts.setdefault(delta.index // self._num_choices, delta.prompt)
        self.num_generated += len(delta.token_ids) + len(delta.hidden_ids)
        if delta.usage is not None:
            self._total, self.num_generated = delta.usage, delta.usage.completion_tokens

    def usage(self, num_generated: int) -> Usage:
        """With so many tokens generated: what is counted may be said in several chunks."""
        if self._total is not None:
            return replace(self._total, completion_tokens=num_generated)
        prompts = self._prompts.values()
        return Usage(
            sum(len(prompt.token_ids) for prompt in prompts),
            num_generated,
            sum(prompt.num_cached_tokens for prompt in prompts),
        )


def usage_body(usage: Usage, *, has_details: bool = True) -> wire.UsageBody:
    body = wire.UsageBody(usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens)
    if has_details:
        body.prompt_tokens_details = wire.PromptTokensDetails(usage.cached_tokens)
    if has_details and usage.reasoning_tokens:
        body.completion_tokens_details = wire.CompletionTokensDetails(usage.reasoning_tokens)
    return body


def timings_body(usage: Usage, timings: Timings) -> wire.TimingsBody:
    num_prompt = usage.prompt_tokens - usage.cached_tokens
    num_generated = usage.completion_tokens
    prompt_ms, generation_ms = timings.prompt_s * 1e3, timings.generation_s * 1e3
    return wire.TimingsBody(
        usage.cached_tokens,
        num_prompt,
        round(prompt_ms, 3),
        _ratio(prompt_ms, num_prompt),
        _ratio(num_prompt, timings.prompt_s),
        num_generated,
        round(generation_ms, 3),
        _ratio(generation_ms, num_generated),
        _ratio(num_generated, timings.generation_s),
    )


def _ratio(value: float, by: float) -> float:
    return round(value / by, 3) if by else 0.0
