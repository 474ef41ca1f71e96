"""POST /llm/ of AgentScope's Flask services: `inputs`, and beside it the arguments of transformers' generate().

Names and meanings are transformers': lengths without "new" count the prompt, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from inglenook.dialects.described import Schema, nullable, request_schema
from inglenook.dialects.flask import wire
from inglenook.dialects.json_fields import Fields, as_token_id, expected
from inglenook.dialects.openai.answers import encode_json, gather, warnings_body
from inglenook.dialects.openai.messages import parse_messages
from inglenook.dialects.openai.schemas import MESSAGES
from inglenook.dialects.unread import sort_unread
from inglenook.errors import ContextLengthError, InvalidRequestError, UnsupportedParameterError
from inglenook.types import MODEL_DEFAULTED, ChatRequest, CompletionRequest, Delta, SamplingParams

INPUTS = ("inputs", "messages", "prompt")  # AgentScope's messages_key may be set to another than the first

# Refused by name, unless the value is null, false, empty, or one of those given here.
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "diversity_penalty": (0,),
    "early_stopping": (),
    "length_penalty": (1,),
    "penalty_alpha": (0,),
    "no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "bad_words_ids": (),
    "force_words_ids": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "guidance_scale": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "prompt_lookup_num_tokens": (),
}
WITHOUT_EFFECT = frozenset(
    ("pad_token_id", "bos_token_id", "use_cache", "return_dict_in_generate", "renormalize_logits", "stream")
)


@dataclass(frozen=True)
class Call:
    """`max_length` and `min_length` count the prompt; None and 0 where the request has none."""

    request: ChatRequest | CompletionRequest
    max_length: int | None
    min_length: int
    unknown_fields: tuple[str, ...]

    def with_prompt_of(self, num_tokens: int) -> ChatRequest | CompletionRequest:
        """The request for the engine, now that the prompt's length is known. Raises ContextLengthError."""
        sampling = self.request.sampling
        if self.max_length is not None:
            room = self.max_length - num_tokens
            if room < 1:
                raise ContextLengthError(
                    f"max_length is {self.max_length} and counts the prompt, which has {num_tokens} tokens; nothing is "
                    "left for the answer. Raise it, or give max_new_tokens.",
                    param="max_length",
                )
            sampling = replace(sampling, max_tokens=room)
        min_tokens = max(sampling.min_tokens, self.min_length - num_tokens)
        if sampling.max_tokens is not None:
            min_tokens = min(min_tokens, sampling.max_tokens)
        return replace(self.request, sampling=replace(sampling, min_tokens=min_tokens))


def read_call(fields: Fields, request_id: str) -> Call:
    """Raises InvalidRequestError, naming the field."""
    given = [name for name in INPUTS if fields.get(name) is not None]
    if len(given) != 1:
        names = ", ".join(given) or "none"
        raise InvalidRequestError(
            f"Give one of inputs, messages and prompt: a text or a list of messages. There is {names}.", param="inputs"
        )
    name = given[0]
    max_new_tokens = fields.integer("max_new_tokens", None)
    max_length, min_length = fields.integer("max_length", None), fields.integer("min_length", 0)
    for key, value in (("max_new_tokens", max_new_tokens), ("max_length", max_length)):
        if value is not None and value < 1:
            raise InvalidRequestError(f"{key} is {value}; it must be at least 1.", param=key)
    head: dict[str, Any] = {
        "request_id": request_id,
        "model": fields.string("model", ""),
        "sampling": _sampling(fields, max_new_tokens),
        "model_defaulted": _model_defaulted(fields),
    }
    request: ChatRequest | CompletionRequest
    if isinstance(fields.get(name), str):
        request = CompletionRequest(**head, prompts=(fields.string(name, ""),))
    elif isinstance(fields.get(name), list):
        request = ChatRequest(**head, messages=parse_messages(fields, name))
    else:
        raise expected(name, "a string or a list of messages", fields.get(name))
    unknown = sort_unread(fields.unread(), REFUSED, WITHOUT_EFFECT, _unsupported)
    return Call(request, max_length if max_new_tokens is None else None, min_length, unknown)


def _sampling(fields: Fields, max_tokens: int | None) -> SamplingParams:
    """do_sample: false takes the likeliest tokens whatever else is asked; without it, what is asked counts."""
    is_greedy = fields.boolean("do_sample", None) is False
    temperature = fields.number("temperature", 1.0)
    sampling = SamplingParams(
        max_tokens=max_tokens,
        min_tokens=fields.integer("min_new_tokens", 0),
        temperature=0.0 if is_greedy else temperature,
        top_p=fields.number("top_p", 1.0),
        top_k=fields.integer("top_k", 0),
        min_p=fields.number("min_p", 0.0),
        typical_p=fields.number("typical_p", 1.0),
        repetition_penalty=fields.number("repetition_penalty", 1.0),
        seed=fields.integer("seed", None),
        stop=fields.strings("stop_strings"),
        stop_token_ids=_token_ids(fields, "eos_token_id"),
        include_stop_str_in_output=bool(fields.strings("stop_strings")),
        max_time_s=fields.number("max_time", None),
    )
    replace(sampling, temperature=temperature).validate()
    return sampling


def _model_defaulted(fields: Fields) -> frozenset[str]:
    left = frozenset(name for name in MODEL_DEFAULTED if fields.get(name) is None)
    return left if fields.boolean("do_sample", None) is not False else left - {"temperature"}


def _token_ids(fields: Fields, key: str) -> tuple[int, ...]:
    value = fields.get(key)
    return fields.token_ids(key) if value is None or isinstance(value, list) else (as_token_id(key, value),)


def _unsupported(name: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(
        f"{name} is an argument of transformers' that this server doesn't have. Leave it out.", param=name
    )


def answer_body(model: str, warnings: tuple[str, ...], deltas: Iterable[Delta], *, now: datetime) -> bytes:
    gathered = gather(deltas)
    text = "".join(gathered.choices[0][1].texts)
    usage = gathered.usage
    total = usage.prompt_tokens + usage.completion_tokens
    timestamp = now.strftime("%Y-%m-%d %H:%M:%S")
    response = wire.Response(
        [wire.Choice(wire.Message(text))],
        "",
        timestamp,
        model,
        "text_completion",
        wire.Usage(usage.completion_tokens, usage.prompt_tokens, total),
    )
    data = wire.Data(usage.completion_tokens, {}, usage.prompt_tokens, response, total, "")
    return encode_json(
        wire.Answer(
            text,
            usage.completion_tokens,
            usage.prompt_tokens,
            timestamp,
            data,
            warnings_body((*warnings, *gathered.warnings)),
        )
    )


def call_schema() -> dict[str, Any]:
    text: Schema = {"type": "string", "minLength": 1}
    ids: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    known = {name: nullable(text, MESSAGES) for name in INPUTS}
    known["eos_token_id"] = nullable({"type": "integer", "minimum": 0}, ids)
    return request_schema(lambda fields: read_call(fields, ""), [{name: "Hi"} for name in INPUTS], known)
