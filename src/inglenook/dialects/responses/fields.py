"""Which request fields the route of Responses knows without honouring them. docs/responses.md shows the same.

What it honours stands nowhere as a list: it is what its parser reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.unread import asks_for_nothing
from inglenook.errors import UnsupportedParameterError

LOGPROBS = "message.output_text.logprobs"  # what include may ask for

# Known on this route, and refused by name unless null, false or empty; with what to do instead.
REFUSED: Mapping[str, str] = {
    "conversation": "Use previous_response_id, or send the items.",
    "prompt": "Prompt templates are kept by OpenAI; send instructions and input.",
    "context_management": "Use truncation.",
    "moderation": "Leave it out.",
    "personality": "Say in instructions how to answer.",
    # chat's names
    "messages": "Use input.",
    "max_tokens": "Use max_output_tokens.",
    "max_completion_tokens": "Use max_output_tokens.",
    "response_format": "Use text.format.",
    "reasoning_effort": "Use reasoning.effort.",
    "functions": "Use tools.",
    "function_call": "Use tool_choice.",
    "logprobs": f'Use include: ["{LOGPROBS}"], and top_logprobs.',
    "n": "A response is one answer.",
    "max_new_tokens": "Use max_output_tokens.",
    "n_predict": "Use max_output_tokens.",
    "n_probs": f'Use include: ["{LOGPROBS}"], and top_logprobs.',
    "prompt_logprobs": "Leave it out.",
    "return_token_ids": "Leave it out.",
    "return_tokens": "Leave it out.",
    "return_tokens_as_token_ids": "Leave it out.",
    "return_prompt_text": "Leave it out.",
    "timings_per_token": "Leave it out.",
    "request_id": "Send the header x-request-id.",
    "rid": "Send the header x-request-id.",
    "continue_final_message": "A response is a turn of its own.",
}
NEUTRAL: Mapping[str, tuple[Any, ...]] = {"n": (1,), "n_predict": (-1,), "n_probs": (0,)}
WITHOUT_EFFECT = ("prompt_cache_options", "prompt_cache_retention", "access_programs", "image")


def refuse(fields: Fields) -> None:
    for name, value in fields.unread().items():
        if name in REFUSED and not asks_for_nothing(value, NEUTRAL.get(name, ())):
            raise UnsupportedParameterError(f"{name} isn't supported for responses. {REFUSED[name]}", param=name)
    fields.skip(*REFUSED)
