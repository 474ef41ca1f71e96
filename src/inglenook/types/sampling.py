"""How tokens are chosen, and when an answer ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from inglenook.errors import InvalidRequestError

# What a model may have defaults of its own for (generation_config.json); a request that gives one has its own.
MODEL_DEFAULTED = frozenset(("temperature", "top_p", "top_k", "min_p", "repetition_penalty"))

MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 64


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen and when to stop. Field names and meanings are vLLM's and OpenAI's.

    Order of application: logit bias and bans, penalties, temperature, min-p, top-k, top-p.
    Log-probabilities are of the model's own distribution, before any of these.
    """

    max_tokens: int | None = None  # None: up to the end of the context
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 or -1: off
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None: drawn for each request
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    logprobs: int | None = None  # None: none; k: the chosen token's and the k likeliest

    def validate(self) -> None:
        """Raise InvalidRequestError, naming the field, where a value is out of its range."""
        _check_range("temperature", self.temperature, 0.0, 2.0)
        _check_range("top_p", self.top_p, 0.0, 1.0, low_open=True)
        _check_range("min_p", self.min_p, 0.0, 1.0)
        _check_range("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _check_range("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _check_range("repetition_penalty", self.repetition_penalty, 0.0, 10.0, low_open=True)
        _check_at_least("top_k", self.top_k, -1)
        _check_at_least("min_tokens", self.min_tokens, 0)
        if self.max_tokens is not None:
            _check_at_least("max_tokens", self.max_tokens, 0)
            if self.min_tokens > self.max_tokens:
                raise InvalidRequestError(
                    f"min_tokens ({self.min_tokens}) is larger than max_tokens ({self.max_tokens}).",
                    param="min_tokens",
                )
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise InvalidRequestError("seed must fit a signed 64-bit integer.", param="seed")
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            raise InvalidRequestError(
                f"logprobs is {self.logprobs}; it must be between 0 and {MAX_LOGPROBS}.", param="logprobs"
            )
        if len(self.stop) > MAX_STOP_STRINGS:
            raise InvalidRequestError(
                f"{len(self.stop)} stop strings were given; at most {MAX_STOP_STRINGS} are allowed.", param="stop"
            )
        if any(text == "" for text in self.stop):
            raise InvalidRequestError("A stop string is empty; leave it out.", param="stop")
        for token_id, bias in self.logit_bias.items():
            _check_range(f"logit_bias[{token_id}]", bias, -100.0, 100.0, param="logit_bias")


def _check_range(
    name: str, value: float, low: float, high: float, *, low_open: bool = False, param: str | None = None
) -> None:
    is_low_enough = value > low if low_open else value >= low
    if math.isnan(value) or not is_low_enough or value > high:
        bracket = "(" if low_open else "["
        raise InvalidRequestError(f"{name} is {value}; it must be in {bracket}{low:g}, {high:g}].", param=param or name)


def _check_at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise InvalidRequestError(f"{name} is {value}; it must be at least {low}.", param=name)
