"""`options` of Ollama's requests -> SamplingParams, and what a request of theirs has no place for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.unread import sort_unread
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import MAX_LOGPROBS, MODEL_DEFAULTED, SamplingParams

# Accepted, since they can't change an answer of this server: how a model is loaded and computed.
WITHOUT_EFFECT = frozenset(
    {
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "num_keep",
        "draft_num_predict",
        "numa",
        "low_vram",
        "f16_kv",
        "use_mmap",
        "use_mlock",
        "vocab_only",
        "logits_all",
        "embedding_only",
        "mirostat_tau",
        "mirostat_eta",
    }
)

# Refused by name, unless the value is null, false or empty, or one of those given here, which ask for nothing.
REFUSED: Mapping[str, tuple[Any, ...]] = {"mirostat": (0,), "tfs_z": (1,), "penalize_newline": (True,)}

_MODELS_OWN = {"repeat_penalty": "repetition_penalty"}  # of MODEL_DEFAULTED, what is called otherwise here


@dataclass(frozen=True)
class Options:
    """`num_ctx`: tokens of a prompt and its answer together. `unknown` are named as messages name them."""

    sampling: SamplingParams
    model_defaulted: frozenset[str]
    num_ctx: int | None
    unknown: tuple[str, ...]
    warnings: tuple[str, ...]


def parse_options(fields: Fields) -> Options:
    """Raises InvalidRequestError, naming the option. `logprobs` and `top_logprobs` stand beside the options."""
    return read_options(Fields(fields.object("options"), "options."), _logprobs(fields))


def read_options(given: Fields, logprobs: int | None) -> Options:
    default = SamplingParams()
    repeat_penalty = given.number("repeat_penalty", default.repetition_penalty)
    window = given.integer("repeat_last_n", None)
    num_predict = given.integer("num_predict", -1)
    seed = given.integer("seed", -1)
    num_ctx = given.integer("num_ctx", None)
    if num_ctx is not None and num_ctx < 1:
        raise InvalidRequestError(f"options.num_ctx is {num_ctx}; it must be at least 1.", param="options.num_ctx")
    sampling = SamplingParams(
        max_tokens=num_predict if num_predict > 0 else None,  # -1: no limit, -2: up to the end of the context
        temperature=given.number("temperature", default.temperature),
        top_p=given.number("top_p", default.top_p),
        top_k=max(given.integer("top_k", default.top_k), -1),
        min_p=given.number("min_p", default.min_p),
        typical_p=given.number("typical_p", default.typical_p),
        repetition_penalty=1.0 if window == 0 else repeat_penalty,
        presence_penalty=given.number("presence_penalty", default.presence_penalty),
        frequency_penalty=given.number("frequency_penalty", default.frequency_penalty),
        seed=seed if seed >= 0 else None,
        stop=tuple(text for text in given.strings("stop") if text),
        logprobs=logprobs,
    )
    sampling.validate()
    warnings: tuple[str, ...] = ()
    if window is not None and window > 0 and repeat_penalty != 1.0:
        warnings = (f"options.repeat_last_n is {window}, but repeat_penalty looks at all tokens.",)
    ours = {_MODELS_OWN.get(name, name) for name in given.names()}
    return Options(sampling, MODEL_DEFAULTED - ours, num_ctx, _unknown(given), warnings)


def _logprobs(fields: Fields) -> int | None:
    is_wanted = fields.boolean("logprobs", False)
    num_top = fields.integer("top_logprobs", 0)
    if not 0 <= num_top <= MAX_LOGPROBS:
        raise InvalidRequestError(
            f"top_logprobs is {num_top}; it must be between 0 and {MAX_LOGPROBS}.", param="top_logprobs"
        )
    return num_top if is_wanted else None


def _unknown(given: Fields) -> tuple[str, ...]:
    unknown = sort_unread(given.unread(), REFUSED, WITHOUT_EFFECT, lambda key: unsupported(given.name(key)))
    return tuple(map(given.name, unknown))


def unsupported(name: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(f"{name} isn't supported by this server. Leave it out.", param=name)
