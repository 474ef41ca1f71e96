"""What a request wants in its answer beside the text."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.dialects.json_fields import Fields
from inglenook.errors import InvalidRequestError
from inglenook.types import SamplingParams

# What OpenAI offers; there is one here, and the answer says so.
_SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority")


@dataclass(frozen=True)
class Wanted:
    """`usage` and `continuous_usage` are a stream's: at its end, and in every chunk."""

    logprobs: bool = False
    prompt_logprobs: int | None = None  # how many alternatives to each of the prompt's tokens
    tokens_as_ids: bool = False  # in log-probabilities
    usage: bool = False
    continuous_usage: bool = False
    usage_details: bool = True  # the server's setting
    token_ids: bool = False
    prompt_text: bool = False
    timings: bool = False
    service_tier: bool = False


def parse_wanted(fields: Fields, sampling: SamplingParams) -> Wanted:
    """Raises InvalidRequestError, naming the field."""
    usage, continuous_usage = _stream_options(fields)
    return Wanted(
        logprobs=sampling.logprobs is not None,
        prompt_logprobs=sampling.prompt_logprobs,
        tokens_as_ids=fields.boolean("return_tokens_as_token_ids", False),
        usage=usage,
        continuous_usage=continuous_usage,
        token_ids=fields.boolean("return_token_ids", False),
        prompt_text=fields.boolean("return_prompt_text", False),
        timings=fields.boolean("timings_per_token", False),
        service_tier=fields.choice("service_tier", None, _SERVICE_TIERS) is not None,
    )


def _stream_options(fields: Fields) -> tuple[bool, bool]:
    options = fields.inside("stream_options")
    if fields.get("stream_options") is not None and not fields.boolean("stream", False):
        raise InvalidRequestError("stream_options is only allowed where stream is true.", param="stream_options")
    is_continuous = options.boolean("continuous_usage_stats", False)
    usage = options.boolean("include_usage", is_continuous)
    options.get("include_obfuscation")  # padding against traffic analysis: of no use without TLS, which isn't ours
    return usage, usage and is_continuous
