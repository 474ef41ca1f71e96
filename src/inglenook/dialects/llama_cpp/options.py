"""The options that completion and infill share -> SamplingParams, and what concerns only the answer's form."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from inglenook.dialects.json_fields import Fields, as_token_id, expected
from inglenook.dialects.openai.constraints import parse_grammar_or_schema
from inglenook.dialects.openai.samplers import NEUTRAL, Samplers, does_something, read_samplers
from inglenook.dialects.openai.sampling import read_max_generation_s
from inglenook.errors import InvalidRequestError
from inglenook.types import MAX_LOGPROBS, MODEL_DEFAULTED, Constraint, SamplingParams

# llama.cpp's, where the model has none of its own.
DEFAULTS = SamplingParams(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05)
RANDOM_SEED = 2**32 - 1
MAX_LOGIT_BIASES = 1 << 16

_MODELS_OWN = {"repeat_penalty": "repetition_penalty"}  # of MODEL_DEFAULTED, what is called otherwise here


@dataclass(frozen=True)
class Options:
    """`num_predict` is -1 for no limit, `id_slot` for none.

    With a `num_predict` of 0 `sampling` asks for one token, so that the prompt is computed; it is to be left out.
    """

    sampling: SamplingParams
    model_defaulted: frozenset[str]
    samplers: Samplers
    constraint: Constraint | None
    num_predict: int
    penalty_window: int
    is_cached: bool
    stream: bool
    id_slot: int
    with_tokens: bool
    with_timings: bool
    response_fields: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Biases:
    tokens: dict[int, float] = field(default_factory=dict)
    texts: dict[str, float] = field(default_factory=dict)


def read_options(fields: Fields) -> Options:
    """Raises InvalidRequestError, naming the field."""
    samplers = read_samplers(fields)
    fields.also("n_predict", "max_tokens")
    num_predict = max(fields.integer("n_predict", -1), -1)
    num_probs = fields.integer("n_probs", 0)
    if not 0 <= num_probs <= MAX_LOGPROBS:
        raise InvalidRequestError(f"n_probs is {num_probs}; it must be between 0 and {MAX_LOGPROBS}.", param="n_probs")
    window = fields.integer("repeat_last_n", -1)
    biases = _read_biases(fields)
    sampling = SamplingParams(
        max_tokens=None if num_predict < 0 else max(num_predict, 1),
        temperature=max(fields.number("temperature", DEFAULTS.temperature), 0.0),
        top_p=fields.number("top_p", DEFAULTS.top_p),
        top_k=max(fields.integer("top_k", DEFAULTS.top_k), 0),
        min_p=fields.number("min_p", DEFAULTS.min_p),
        typical_p=fields.number("typical_p", DEFAULTS.typical_p),
        repetition_penalty=fields.number("repeat_penalty", DEFAULTS.repetition_penalty),
        presence_penalty=fields.number("presence_penalty", DEFAULTS.presence_penalty),
        frequency_penalty=fields.number("frequency_penalty", DEFAULTS.frequency_penalty),
        logit_bias=biases.tokens,
        text_bias=biases.texts,
        seed=_read_seed(fields),
        stop=tuple(text for text in fields.strings("stop") if text),
        ignore_eos=fields.boolean("ignore_eos", False),
        max_lines_s=read_max_generation_s(fields),
        min_indent=max(fields.integer("n_indent", 0), 0),
        logprobs=num_probs or None,
    )
    sampling.validate()
    off: Mapping[str, Any] = samplers.overrides
    if window == 0:
        off = {**off, **NEUTRAL["penalties"]}
    sampling = replace(sampling, **off)
    given = {_MODELS_OWN.get(name, name) for name in fields.names()}
    return Options(
        sampling,
        MODEL_DEFAULTED - given - off.keys(),
        samplers,
        parse_grammar_or_schema(fields),
        num_predict,
        window,
        fields.boolean("cache_prompt", True),
        fields.boolean("stream", False),
        fields.integer("id_slot", -1),
        fields.boolean("return_tokens", False),
        fields.boolean("timings_per_token", False),
        fields.strings("response_fields"),
        (*samplers.warnings(sampling), *_window_warning(window, sampling)),
    )


def _window_warning(window: int, sampling: SamplingParams) -> tuple[str, ...]:
    if window > 0 and does_something("penalties", sampling):
        return (f"repeat_last_n is {window}, but penalties look at all tokens.",)
    return ()


def _read_seed(fields: Fields) -> int:
    """Drawn here where none is given, since answers tell it."""
    seed = fields.integer("seed", -1)
    return seed if 0 <= seed < RANDOM_SEED or seed > RANDOM_SEED else secrets.randbelow(RANDOM_SEED)


# --- logit_bias -----------------------------------------------------------------------------------


def _read_biases(fields: Fields) -> _Biases:
    """[[token id or text, bias or false], ...], or an object with such keys. Several of one token add up."""
    value = fields.get("logit_bias")
    biases = _Biases()
    for where, token, bias in _pairs(value):
        if isinstance(token, str):
            biases.texts[token] = biases.texts.get(token, 0.0) + bias
        else:
            token_id = as_token_id(where, token)
            biases.tokens[token_id] = biases.tokens.get(token_id, 0.0) + bias
    return biases


def _pairs(value: Any) -> Iterable[tuple[str, Any, float]]:
    if value is None:
        return
    if not isinstance(value, (list, dict)):
        raise expected("logit_bias", "a list of pairs, or an object", value)
    if len(value) > MAX_LOGIT_BIASES:
        raise InvalidRequestError(
            f"logit_bias has {len(value)} entries; at most {MAX_LOGIT_BIASES} are allowed.", param="logit_bias"
        )
    if isinstance(value, dict):
        for key, bias in value.items():
            is_id = key.isascii() and key.isdigit() and len(key) <= 10
            yield "logit_bias", int(key) if is_id else key, _bias(f"logit_bias[{key[:40]!r}]", bias)
        return
    for index, pair in enumerate(value):
        where = f"logit_bias[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise expected(where, "a list of a token and its bias", pair)
        yield f"{where}[0]", pair[0], _bias(f"{where}[1]", pair[1])


def _bias(where: str, value: Any) -> float:
    """false: the token isn't to come at all."""
    if value is False:
        return -100.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise expected(where, "a number, or false", value)
    return float(value)
