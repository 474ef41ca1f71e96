"""What comes back of a generation, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class TokenLogprob:
    """One token with the natural logarithm of its probability.

    `text` is the token's own text (replacement characters where it isn't whole UTF-8), `bytes` its bytes.
    `top` holds the likeliest alternatives, likeliest first, each without a `top` of its own. `is_special`: it is one of
    those that texts leave out. `rank` is how many tokens are at least as likely; it is known of prompts only. A
    log-probability of NaN is one that doesn't exist.
    """

    token_id: int
    text: str
    bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()
    is_special: bool = False
    rank: int | None = None


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # those of prompt_tokens that the prefix cache supplied
    reasoning_tokens: int = 0  # those of completion_tokens that are thinking, its marks included

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True)
class ToolCallDelta:
    """A piece of one tool call. Its first piece has `id` and `name`; the `arguments` of all, joined, are JSON."""

    index: int  # of the call in its choice
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called. `arguments` is JSON, whole unless the finish reason is length."""

    id: str
    name: str
    arguments: str


def joined_calls(pieces: Iterable[ToolCallDelta]) -> list[ToolCall]:
    """The calls of one choice, in order."""
    calls: dict[int, list[ToolCallDelta]] = {}
    for piece in pieces:
        calls.setdefault(piece.index, []).append(piece)
    return [
        ToolCall(call[0].id or "", call[0].name or "", "".join(piece.arguments for piece in call))
        for _, call in sorted(calls.items())
    ]


@dataclass(frozen=True)
class AnsweredPrompt:
    """What a choice continues. `text`: with special tokens, where the request asked for it."""

    token_ids: tuple[int, ...]
    num_cached_tokens: int = 0  # that the prefix cache supplied
    text: str | None = None
    logprobs: tuple[TokenLogprob | None, ...] | None = None  # None of the first token; None at all: not asked for


@dataclass(frozen=True)
class Timings:
    """How long an answer took: to its first token, waiting included, and from there to its last.

    Where both came at once, the time is shared out by tokens.
    """

    prompt_s: float
    generation_s: float


@dataclass(frozen=True)
class Delta:
    """A piece of one choice of an answer. The pieces of a choice, joined, are its whole text.

    `text` is the answer's content; the model's thinking and its tool calls are apart from it.
    The last piece of a choice has `finish_reason`; the last piece of all has `usage`, the sum over choices.
    `token_ids` are of the text; `hidden_ids` were generated too and show nowhere: what ended the choice.
    `stop_reason` says which stop string or stop token ended it (None for the model's own end of text).
    `warnings` say what was changed in the request so that it could be served; they come with the first piece.
    The first piece of a choice has `prompt`, the last one `mean_logprob`, where log-probabilities were asked for: the
    mean over all of its tokens, the hidden ones too. The router adds `timings` to the one with `usage`.
    """

    index: int = 0
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    usage: Usage | None = None
    warnings: tuple[str, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    prompt: AnsweredPrompt | None = None
    hidden_ids: tuple[int, ...] = ()
    timings: Timings | None = field(default=None, compare=False)
    mean_logprob: float | None = None
