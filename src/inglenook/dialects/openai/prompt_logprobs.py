"""`prompt_logprobs` as vLLM has it: for each token of a prompt, by token id, how likely it and the likeliest were."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from inglenook.dialects.openai import wire
from inglenook.types import AnsweredPrompt, TokenLogprob


def prompt_logprobs_body(prompt: AnsweredPrompt, num_top: int | None) -> wire.PromptLogprobs | UnsetType:
    """Nothing is known of the first token. The prompt's own tokens come first, then the `num_top` likeliest."""
    if num_top is None:
        return UNSET
    known = prompt.logprobs or (None,) * len(prompt.token_ids)
    return [None if token is None else _by_id((token, *token.top[:num_top])) for token in known]


def _by_id(tokens: Iterable[TokenLogprob]) -> dict[str, wire.PromptLogprob]:
    entries: dict[str, wire.PromptLogprob] = {}
    for token in tokens:
        entry = wire.PromptLogprob(token.logprob, token.rank or 0, token.text)
        entries.setdefault(str(token.token_id), entry)
    return entries
