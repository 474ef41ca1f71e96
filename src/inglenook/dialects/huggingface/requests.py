"""Bodies of Text Generation Inference's routes, and of the hosted API's for text, -> CompletionRequest.

Fields and defaults are theirs: greedy unless sampling is asked for, 100 new tokens, none of the model's own defaults.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inglenook.dialects.json_fields import Fields, expected
from inglenook.dialects.openai.constraints import tgi_grammar
from inglenook.dialects.unread import sort_unread
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import MAX_CHOICES, MAX_LOGPROBS, CompletionRequest, Constraint, SamplingParams

DEFAULT_MAX_NEW_TOKENS = 100  # TGI's

# Of `parameters`. Refused by name, unless the value is null, false, empty, or one of those given here.
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "adapter_id": (),
    "watermark": (),
}
WITHOUT_EFFECT = frozenset(("use_cache", "wait_for_model"))  # of `options`


@dataclass(frozen=True)
class Parameters:
    """The object `parameters`, of which some concern only the answer's form.

    `num_results`: answers that are wanted (num_return_sequences); the best one of `best_of`, where that is above 1.
    `with_full_text`: the prompt goes before each answer's text; None: as the route has it.
    """

    sampling: SamplingParams
    constraint: Constraint | None
    truncate: int | None
    best_of: int
    num_results: int
    with_full_text: bool | None
    with_details: bool
    with_prefill: bool
    num_top_tokens: int
    unknown_fields: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    request: CompletionRequest
    parameters: Parameters
    stream: bool
    with_full_text: bool
    unknown_fields: tuple[str, ...]

    @property
    def prompt(self) -> str:
        [prompt] = self.request.prompts
        assert isinstance(prompt, str)
        return prompt

    def seed(self, index: int) -> int | None:
        """That of the choice with this index: as backends/choices.py counts them up."""
        seed = self.request.sampling.seed
        return None if seed is None else (seed + index + 2**63) % 2**64 - 2**63


def read_generate(
    fields: Fields, request_id: str, *, model: str, is_compat: bool, is_stream: bool | None = None
) -> Call:
    """Body of POST /generate and /generate_stream; `is_compat`: of POST / and /models/{id}.

    `is_stream` goes before what the body says.

    Raises InvalidRequestError, naming the field. Fields that were read before are the caller's affair.
    """
    prompt = fields.string("inputs", "")
    if not prompt:
        raise InvalidRequestError("inputs is missing or empty; it must be the text to go on from.", param="inputs")
    stream = fields.boolean("stream", False)
    stream = stream if is_stream is None else is_stream
    parameters = read_parameters(Fields(fields.object("parameters"), "parameters."))
    needs_logprobs = parameters.with_details or parameters.best_of > 1 or stream
    logprobs = parameters.num_top_tokens if needs_logprobs else None
    request = CompletionRequest(
        request_id,
        model,
        replace(parameters.sampling, logprobs=logprobs, prompt_logprobs=0 if parameters.with_prefill else None),
        num_choices=max(parameters.best_of, parameters.num_results),
        constraint=parameters.constraint,
        truncate_prompt_tokens=parameters.truncate,
        return_prompt_text=parameters.with_prefill,
        prompts=(prompt,),
        add_special_tokens=fields.boolean("add_special_tokens", True),
    )
    unknown = [f"options.{name}" for name in fields.object("options") if name not in WITHOUT_EFFECT]
    unknown += [name for name, value in fields.unread().items() if value is not None]
    full_text = is_compat if parameters.with_full_text is None else parameters.with_full_text
    return Call(request, parameters, stream, full_text, (*parameters.unknown_fields, *unknown))


def read_parameters(given: Fields) -> Parameters:
    best_of = _count(given, "best_of")
    num_results = _count(given, "num_return_sequences")
    if best_of > 1 and num_results > 1:
        name = given.name("best_of")
        raise InvalidRequestError(f"{name} and num_return_sequences exclude each other.", param=name)
    truncate = given.integer("truncate", None)
    if truncate is not None and truncate < 1:
        name = given.name("truncate")
        raise InvalidRequestError(f"{name} is {truncate}; it must be at least 1.", param=name)
    num_top_tokens = given.integer("top_n_tokens", 0)
    if not 0 <= num_top_tokens <= MAX_LOGPROBS:
        name = given.name("top_n_tokens")
        raise InvalidRequestError(f"{name} is {num_top_tokens}; it must be between 0 and {MAX_LOGPROBS}.", param=name)
    sampling = _sampling(given)
    if best_of > 1 and sampling.temperature == 0:
        name = given.name("best_of")
        raise InvalidRequestError(f"{name} above 1 needs sampling: give do_sample or temperature.", param=name)
    with_prefill = given.boolean("decoder_input_details", False)
    return Parameters(
        sampling,
        _grammar(given),
        truncate,
        best_of,
        num_results,
        given.boolean("return_full_text", None),
        given.boolean("details", False) or with_prefill,
        with_prefill,
        num_top_tokens,
        _unread(given),
    )


def _count(given: Fields, key: str) -> int:
    count = given.integer(key, 1)
    if not 1 <= count <= MAX_CHOICES:
        name = given.name(key)
        raise InvalidRequestError(f"{name} is {count}; it must be between 1 and {MAX_CHOICES}.", param=name)
    return count


def _sampling(given: Fields) -> SamplingParams:
    """TGI samples where do_sample is true, and where a parameter asks for something that only sampling can do.

    Where it samples, a seed is drawn here, since details tell it. Texts end with their stop sequence, as TGI's do.
    """
    max_tokens = given.integer("max_new_tokens", DEFAULT_MAX_NEW_TOKENS)
    if max_tokens < 1:
        name = given.name("max_new_tokens")
        raise InvalidRequestError(f"{name} is {max_tokens}; it must be at least 1.", param=name)
    temperature = given.number("temperature", 1.0)
    top_k, top_p = given.integer("top_k", 0), given.number("top_p", 1.0)
    typical_p = given.number("typical_p", 1.0)
    is_asked = temperature != 1.0 or top_k > 0 or top_p < 1.0 or typical_p < 1.0
    is_sampled = given.boolean("do_sample", False) or is_asked
    seed = given.integer("seed", None)
    if seed is None and is_sampled:
        seed = secrets.randbits(63)
    sampling = SamplingParams(
        max_tokens=max_tokens,
        temperature=temperature if is_sampled else 0.0,
        top_k=top_k,
        top_p=top_p,
        typical_p=typical_p,
        repetition_penalty=given.number("repetition_penalty", 1.0),
        frequency_penalty=given.number("frequency_penalty", 0.0),
        seed=seed if is_sampled else None,
        stop=given.strings("stop"),
        include_stop_str_in_output=True,
        max_time_s=given.number("max_time", None),
    )
    sampling.validate()
    return sampling


def _grammar(given: Fields) -> Constraint | None:
    value = given.get("grammar")
    if value is None or value == {}:
        return None
    where = given.name("grammar")
    if not isinstance(value, dict):
        raise expected(where, "an object with type and value", value)
    return tgi_grammar(Fields(value, f"{where}."))


def _unread(given: Fields) -> tuple[str, ...]:
    """The names that nobody knows. Raises UnsupportedParameterError for a parameter that is known and not honoured."""

    def unsupported(key: str) -> UnsupportedParameterError:
        name = given.name(key)
        return UnsupportedParameterError(f"{name} is known to this server but not supported. Leave it out.", param=name)

    return tuple(map(given.name, sort_unread(given.unread(), REFUSED, (), unsupported)))
