"""Bodies of the llama.cpp server's POST /completion and POST /infill -> CompletionRequest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.llama_cpp.options import Options, read_options
from inglenook.dialects.llama_cpp.prompts import read_middle, read_prompts
from inglenook.dialects.openai.fields import OF_WHAT_IS_OFF
from inglenook.dialects.unread import sort_unread
from inglenook.errors import UnsupportedParameterError
from inglenook.types import CompletionRequest, Prompt, SourceFile

# Refused by name, unless the value is null, false, empty, or one of those given here, which ask for nothing.
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "mirostat": (0,),
    "dynatemp_range": (0,),
    "top_n_sigma": (-1,),
    "xtc_probability": (0,),
    "dry_multiplier": (0,),
    "adaptive_target": (-1,),
    "tfs_z": (1,),
    "min_keep": (0,),
    "n_cmpl": (1,),
    "n": (1,),
    "post_sampling_probs": (),
    "return_progress": (),
    "lora": (),
    "grammar_lazy": (),
}
# Accepted, since they can't change an answer of this server: how it is computed, and where it is cached.
WITHOUT_EFFECT = OF_WHAT_IS_OFF | frozenset(
    {
        "n_keep",
        "n_discard",
        "n_cache_reuse",
        "t_max_prompt_ms",
        "sse_ping_interval",
        "adaptive_decay",
        "penalize_nl",
        "penalty_prompt",
        "speculative.n_max",
        "speculative.n_min",
        "speculative.p_min",
    }
)


@dataclass(frozen=True)
class Call:
    request: CompletionRequest
    options: Options
    unknown_fields: tuple[str, ...]

    @property
    def num_prompts(self) -> int:
        return len(self.request.prompts)


def read_completion(fields: Fields, request_id: str) -> Call:
    """Body of POST /completion. Raises InvalidRequestError, naming the field."""
    return _call(fields, request_id, read_prompts(fields))


def read_infill(fields: Fields, request_id: str) -> Call:
    """Body of POST /infill. What surrounds the middle is cut where the context has no room for all of it."""
    before, behind, files, unknown = read_middle(fields)
    return _call(fields, request_id, (before,), suffix=behind, files=files, unknown=unknown)


def _call(
    fields: Fields,
    request_id: str,
    prompts: tuple[Prompt, ...],
    *,
    suffix: str | None = None,
    files: tuple[SourceFile, ...] = (),
    unknown: tuple[str, ...] = (),
) -> Call:
    options = read_options(fields)
    request = CompletionRequest(
        request_id,
        fields.string("model", ""),
        options.sampling,
        model_defaulted=options.model_defaulted,
        constraint=options.constraint,
        truncate_prompt_tokens=None if suffix is None else -1,
        cache_salt="" if options.is_cached else request_id,
        return_prompt_text=True,
        prompts=prompts,
        suffix=suffix,
        files=files,
    )
    unread = sort_unread(fields.unread(), REFUSED, WITHOUT_EFFECT, _unsupported)
    return Call(request, options, (*options.samplers.unknown, *unknown, *unread))


def _unsupported(name: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(f"{name} is known to this server but not supported. Leave it out.", param=name)
