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
MAX_BAD_WORDS = 1024
MAX_PATTERN_SIZE = 1024


@dataclass(frozen=True)
class RepetitionDetection:
    """What counts as a loop: an output that ends in `min_count` times the same tokens, min to max_pattern_size of them.

    A max_pattern_size of 0 finds none. Names and meanings are vLLM's.
    """

    max_pattern_size: int = 0
    min_pattern_size: int = 0  # 0 as 1
    min_count: int = 0

    def validate(self) -> None:
        """Raise InvalidRequestError where nothing, or everything, would be a loop."""
        where = "repetition_detection"
        _check_range(f"{where}.max_pattern_size", self.max_pattern_size, 0, MAX_PATTERN_SIZE)
        _check_range(f"{where}.min_pattern_size", self.min_pattern_size, 0, self.max_pattern_size)
        if self.max_pattern_size:
            _check_at_least(f"{where}.min_count", self.min_count, 2)


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen and when to stop. Field names and meanings are vLLM's and OpenAI's.

    Order of application: logit bias, bans, penalties, temperature, min-p, top-k, top-p, typical-p.
    Log-probabilities are of the model's own distribution, before any of these.
    """

    max_tokens: int | None = None  # None: up to the end of the context
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 or -1: off
    min_p: float = 0.0
    typical_p: float = 1.0  # locally typical sampling (Meister et al. 2022, arXiv:2202.00666); 1: off
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    text_bias: Mapping[str, float] = field(default_factory=dict)  # the same for every token of a text
    allowed_token_ids: tuple[int, ...] | None = None  # None: all
    bad_words: tuple[str, ...] = ()  # texts that the answer may not come to hold
    seed: int | None = None  # None: drawn for each request
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    repetition_detection: RepetitionDetection | None = None  # ends the answer where it runs in a circle
    max_time_s: float | None = None  # since the request came in; then the answer ends as at max_tokens
    max_generation_s: float | None = None  # the same, since the first token
    max_lines_s: float | None = None  # the same as that, once the text has a line break
    min_indent: int = 0  # the answer ends where a line but the first begins with fewer blanks
    logprobs: int | None = None  # None: none; k: the chosen token's and the k likeliest
    prompt_logprobs: int | None = None  # the same of the prompt's tokens

    def validate(self) -> None:
        """Raise InvalidRequestError, naming the field, where a value is out of its range."""
        _check_range("temperature", self.temperature, 0.0, 2.0)
        _check_range("top_p", self.top_p, 0.0, 1.0, low_open=True)
        _check_range("min_p", self.min_p, 0.0, 1.0)
        _check_range("typical_p", self.typical_p, 0.0, 1.0, low_open=True)
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
        for name, number in (("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)):
            if number is not None and not 0 <= number <= MAX_LOGPROBS:
                raise InvalidRequestError(f"{name} is {number}; it must be between 0 and {MAX_LOGPROBS}.", param=name)
        _check_at_least("min_indent", self.min_indent, 0)
        for name in ("max_time_s", "max_generation_s", "max_lines_s"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise InvalidRequestError(f"{name} is {seconds}; it must be above 0.", param=name)
        if self.repetition_detection is not None:
            self.repetition_detection.validate()
        if len(self.stop) > MAX_STOP_STRINGS:
            raise InvalidRequestError(
                f"{len(self.stop)} stop strings were given; at most {MAX_STOP_STRINGS} are allowed.", param="stop"
            )
        if any(text == "" for text in self.stop):
            raise InvalidRequestError("A stop string is empty; leave it out.", param="stop")
        if self.allowed_token_ids is not None and not self.allowed_token_ids:
            raise InvalidRequestError(
                "allowed_token_ids is empty, so that no token could be chosen; leave it out.", param="allowed_token_ids"
            )
        if len(self.bad_words) > MAX_BAD_WORDS:
            raise InvalidRequestError(
                f"{len(self.bad_words)} bad words were given; at most {MAX_BAD_WORDS} are allowed.", param="bad_words"
            )
        if not all(map(str.strip, self.bad_words)):
            raise InvalidRequestError("A text of bad_words is empty; leave it out.", param="bad_words")
        for token_id, bias in self.logit_bias.items():
            _check_range(f"logit_bias[{token_id}]", bias, -100.0, 100.0, param="logit_bias")
        for text, bias in self.text_bias.items():
            _check_range(f"logit_bias[{text[:40]!r}]", bias, -100.0, 100.0, param="logit_bias")


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
