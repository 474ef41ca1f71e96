"""What enters the engine and what leaves it: token ids only, no text."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from inglenook.engine.guide import StartGuide
from inglenook.types import FinishReason, SamplingParams


@dataclass(frozen=True)
class EngineRequest:
    """One sequence to continue. A request for n choices is n of these.

    `eos_token_ids` end it unless sampling.ignore_eos; sampling.stop_token_ids end it always. Stop strings are not
    the engine's: whoever has the text cancels. sampling.max_tokens is set, and fits the context, when it gets here.
    `banned` are the tokens of sampling.bad_words: of each, the last isn't chosen behind the others.

    A guide has the last word: what it allows alone is chosen in spite of sampling.min_tokens, logit_bias, `banned` and
    allowed_token_ids, and the request ends where the guide is finished, in spite of min_tokens and ignore_eos. What it
    forces counts as output.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    sampling: SamplingParams
    eos_token_ids: frozenset[int] = frozenset()
    priority: int = 0
    cache_salt: str = ""  # requests with different salts share no cached blocks
    is_drafted: bool = True  # may be speculated on; the tokens are the same
    start_guide: StartGuide | None = None  # None: any token may follow any other
    banned: tuple[tuple[int, ...], ...] = ()
    received: float = field(default_factory=time.monotonic, compare=False)


class SampledToken(NamedTuple):
    """One token of the output. `top` is (token id, log-probability), likeliest first; empty unless asked for."""

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class ScoredToken(NamedTuple):
    """One token of a prompt. `rank`: how many tokens are at least as likely. `top` is as above."""

    token_id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...] = ()


class EngineOutput(NamedTuple):
    """New tokens of one request, in order. The last output of a request has a finish_reason or an error.

    A stop token or end of text is among the tokens; `stop_token_id` names it, so that its text can be left out
    (None where the reason is another: so also where the guide is finished). `is_loop`: the request was ended since it
    ran in a circle. Where sampling.prompt_logprobs asks for them, the first output has the prompt's, from its second
    token on; none where the request ended before they were known.
    """

    request_id: str
    tokens: tuple[SampledToken, ...] = ()
    finish_reason: FinishReason | None = None
    stop_token_id: int | None = None
    num_cached_tokens: int = 0
    is_loop: bool = False
    prompt_scores: tuple[ScoredToken, ...] | None = None
    error: Exception | None = None
