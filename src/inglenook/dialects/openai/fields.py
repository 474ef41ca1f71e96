"""Which request fields the OpenAI routes know without honouring them. docs/api.md shows the same as a table.

What a route honours stands nowhere as a list: it is what its parser reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.unread import sort_unread
from inglenook.errors import UnsupportedParameterError

# Of llama.cpp's samplers that aren't here: how they would work, if what turns them on weren't refused.
OF_WHAT_IS_OFF = frozenset(
    {
        "dynatemp_exponent",
        "mirostat_tau",
        "mirostat_eta",
        "xtc_threshold",
        "dry_base",
        "dry_allowed_length",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
    }
)

# Accepted, since they can't change an answer of this server: whom it is billed to, where it is kept or cached.
WITHOUT_EFFECT = OF_WHAT_IS_OFF | frozenset(
    {
        "user",
        "metadata",
        "store",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "cache_prompt",
        "id_slot",
        "session_id",
        "stream_interval",
        "sse_ping_interval",
        "keep_alive",
        "ttl",
        "timeout",
        "guided_decoding_backend",
        "spaces_between_special_tokens",  # no tokenizer of ours puts any there
    }
)

# Refused by name, unless the value is null, false, empty, or one of those given here, which ask for nothing.
REFUSED: Mapping[str, tuple[Any, ...]] = {
    # structured outputs, reasoning
    "guided_whitespace_pattern": (),
    "stream_reasoning": (True,),
    "verbosity": ("medium",),
    # input and output other than text
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "moderation": (),
    "prompt_embeds": (),
    "input_ids": (),
    "media_io_kwargs": (),
    "mm_processor_kwargs": (),
    # how the prompt is made
    "tool_prompt": (),
    "suffix": (),
    # sampling
    "best_of": (1,),
    "use_beam_search": (),
    "length_penalty": (1,),
    "top_n_sigma": (-1,),
    "dynatemp_range": (0,),
    "mirostat": (0,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "min_keep": (0,),
    "custom_logit_processor": (),
    "custom_params": (),
    "logits_processors": (),
    "vllm_xargs": (),
    "watermarking": (),
    "stop_regex": (),
    # limits
    "n_keep": (0, -1),
    # what the answer holds
    "logprob_token_ids": (),
    "post_sampling_probs": (),
    "return_hidden_states": (),
    "return_cached_tokens_details": (),
    "return_progress": (),
    "response_fields": (),
    # who serves it, and with what
    "extra_key": (),
    "lora": (),
    "lora_path": (),
    "kv_transfer_params": (),
    "ec_transfer_params": (),
    "session_params": (),
}

# Honoured in chat requests; on the other route as REFUSED.
CHAT_ONLY: Mapping[str, tuple[Any, ...]] = {
    "tools": (),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True,),
    "functions": (),
    "function_call": ("none", "auto"),
    "reasoning_effort": ("none",),
    "reasoning": (),
    "reasoning_format": ("none", "auto"),
    "thinking": (),
    "enable_thinking": (),
    "thinking_token_budget": (),
    "include_reasoning": (True,),
    "separate_reasoning": (True,),
    "documents": (),
    "chat_template": (),
}

_NEUTRAL = {**REFUSED, **CHAT_ONLY}


def refuse_or_report(unread: Mapping[str, Any]) -> tuple[str, ...]:
    """Sort the fields that a parser didn't read: returns the names that nobody knows.

    Raises UnsupportedParameterError for a field of REFUSED or CHAT_ONLY whose value asks for something.
    """
    return sort_unread(unread, _NEUTRAL, WITHOUT_EFFECT, unsupported)


def unsupported(name: str) -> UnsupportedParameterError:
    if name in CHAT_ONLY:
        return UnsupportedParameterError(f"{name} is a field of chat requests only. Leave it out.", param=name)
    return UnsupportedParameterError(f"{name} is known to this server but not supported yet. Leave it out.", param=name)
