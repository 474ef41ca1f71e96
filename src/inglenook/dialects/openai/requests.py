"""OpenAI request bodies -> ChatRequest and CompletionRequest (API reference of OpenAI, extras of vLLM)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from inglenook.dialects.json_fields import Fields, as_token_id, decode_object, expected
from inglenook.dialects.openai.constraints import parse_constraint, parse_repair
from inglenook.dialects.openai.fields import refuse_or_report
from inglenook.dialects.openai.messages import parse_documents, parse_messages
from inglenook.dialects.openai.names import (
    check_penalty_window,
    read_answer_id,
    read_max_tokens,
    take_other_names,
)
from inglenook.dialects.openai.reasoning import parse_reasoning
from inglenook.dialects.openai.samplers import Samplers, read_samplers
from inglenook.dialects.openai.sampling import extra_sampling, parse_cache_salt, read_best_of
from inglenook.dialects.openai.tools import CallForm, parse_tool_use
from inglenook.dialects.openai.wanted import Wanted, parse_wanted
from inglenook.dialects.truncation import parse_truncation
from inglenook.errors import InvalidRequestError
from inglenook.types import (
    MAX_CHOICES,
    MAX_LOGPROBS,
    MODEL_DEFAULTED,
    ChatRequest,
    CompletionRequest,
    GenerateRequest,
    SamplingParams,
)

COMPLETION_MAX_TOKENS = 16  # OpenAI's default on the older route; chat has none
MAX_PROMPTS = 1024
MAX_LOGIT_BIASES = 1 << 16

RequestT = TypeVar("RequestT", bound=GenerateRequest)


@dataclass(frozen=True)
class Parsed(Generic[RequestT]):
    """A request with what concerns only its answer's form. `unknown_fields` and `warnings` go into a response header.

    `answer_id` is what the client asked for, or the request's.
    """

    request: RequestT
    answer_id: str
    stream: bool
    wanted: Wanted
    unknown_fields: tuple[str, ...]
    call_form: CallForm = CallForm()
    warnings: tuple[str, ...] = ()


def parse_chat(body: bytes, request_id: str) -> Parsed[ChatRequest]:
    """Body of POST /v1/chat/completions. Raises InvalidRequestError, naming the field."""
    return read_chat(Fields(decode_object(body)), request_id)


def read_chat(fields: Fields, request_id: str) -> Parsed[ChatRequest]:
    """Fields that were read before are the caller's affair."""
    take_other_names(fields)
    continues = fields.boolean("continue_final_message", False)
    opens_turn = fields.boolean("add_generation_prompt", not continues)
    if continues and opens_turn:
        raise InvalidRequestError(
            "continue_final_message and add_generation_prompt exclude each other.", param="add_generation_prompt"
        )
    max_tokens = fields.integer("max_completion_tokens", read_max_tokens(fields, None))
    if max_tokens is not None and max_tokens < 1:
        name = "max_tokens" if fields.get("max_completion_tokens") is None else "max_completion_tokens"
        raise InvalidRequestError(f"{name} is {max_tokens}; it must be at least 1.", param=name)
    tool_use, call_form = parse_tool_use(fields)
    template_kwargs = fields.object("chat_template_kwargs")
    request = ChatRequest(
        request_id=request_id,
        model=fields.string("model", ""),
        sampling=_sampling(fields, max_tokens, _chat_logprobs(fields)),
        num_choices=_num_choices(fields),
        priority=fields.integer("priority", 0),
        model_defaulted=_model_defaulted(fields),
        constraint=parse_constraint(fields),
        **parse_repair(fields),
        **parse_truncation(fields),
        cache_salt=parse_cache_salt(fields),
        messages=parse_messages(fields),
        add_generation_prompt=opens_turn,
        continue_final_message=continues,
        chat_template_kwargs=template_kwargs,
        tool_use=tool_use,
        reasoning=parse_reasoning(fields, template_kwargs),
        documents=parse_documents(fields),
        echo=fields.boolean("echo", False),
        add_special_tokens=fields.boolean("add_special_tokens", False),
        chat_template=fields.string("chat_template", None) or None,
    )
    return _parsed(fields, request, call_form)


def parse_completion(body: bytes, request_id: str) -> Parsed[CompletionRequest]:
    """Body of POST /v1/completions. Raises InvalidRequestError, naming the field."""
    return read_completion(Fields(decode_object(body)), request_id)


def read_completion(fields: Fields, request_id: str) -> Parsed[CompletionRequest]:
    """As `read_chat`."""
    take_other_names(fields)
    logprobs = fields.integer("logprobs", fields.integer("n_probs", 0) or None)
    num_choices = _num_choices(fields)
    request = CompletionRequest(
        request_id=request_id,
        model=fields.string("model", ""),
        sampling=_sampling(fields, read_max_tokens(fields, COMPLETION_MAX_TOKENS), logprobs),
        num_choices=num_choices,
        priority=fields.integer("priority", 0),
        model_defaulted=_model_defaulted(fields),
        constraint=parse_constraint(fields),
        **parse_repair(fields),
        **parse_truncation(fields),
        cache_salt=parse_cache_salt(fields),
        prompts=_prompts(fields),
        echo=fields.boolean("echo", False),
        best_of=read_best_of(fields, num_choices),
        add_special_tokens=fields.boolean("add_special_tokens", True),
        suffix=fields.string("suffix", None) or None,
    )
    return _parsed(fields, request, CallForm())


def _parsed(fields: Fields, request: RequestT, call_form: CallForm) -> Parsed[RequestT]:
    stream = fields.boolean("stream", False)
    samplers = read_samplers(fields) if fields.get("samplers") else Samplers()
    request = replace(
        request,
        sampling=replace(request.sampling, **samplers.overrides),
        model_defaulted=request.model_defaulted - samplers.overrides.keys(),
    )
    wanted = parse_wanted(fields, request.sampling)
    request = replace(request, return_prompt_text=wanted.prompt_text)
    check_penalty_window(fields, request.sampling)
    answer_id = read_answer_id(fields, request.request_id)
    unknown = (*refuse_or_report(fields.unread()), *samplers.unknown)
    return Parsed(request, answer_id, stream, wanted, unknown, call_form, samplers.warnings(request.sampling))


def _num_choices(fields: Fields) -> int:
    num_choices = fields.integer("n", 1)
    if not 1 <= num_choices <= MAX_CHOICES:
        raise InvalidRequestError(f"n is {num_choices}; it must be between 1 and {MAX_CHOICES}.", param="n")
    return num_choices


def _chat_logprobs(fields: Fields) -> int | None:
    num_probs = fields.integer("n_probs", 0)  # llama.cpp's name for both in one
    is_wanted = fields.boolean("logprobs", num_probs > 0)
    num_top = fields.integer("top_logprobs", num_probs)
    if not 0 <= num_top <= MAX_LOGPROBS:
        raise InvalidRequestError(
            f"top_logprobs is {num_top}; it must be between 0 and {MAX_LOGPROBS}.", param="top_logprobs"
        )
    if num_top and not is_wanted:
        raise InvalidRequestError("top_logprobs needs logprobs: true.", param="top_logprobs")
    return num_top if is_wanted else None


def _sampling(fields: Fields, max_tokens: int | None, logprobs: int | None) -> SamplingParams:
    default = SamplingParams()
    sampling = SamplingParams(
        max_tokens=max_tokens,
        min_tokens=fields.integer("min_tokens", default.min_tokens),
        temperature=fields.number("temperature", default.temperature),
        top_p=fields.number("top_p", default.top_p),
        top_k=fields.integer("top_k", default.top_k),
        min_p=fields.number("min_p", default.min_p),
        repetition_penalty=fields.number("repetition_penalty", default.repetition_penalty),
        presence_penalty=fields.number("presence_penalty", default.presence_penalty),
        frequency_penalty=fields.number("frequency_penalty", default.frequency_penalty),
        logit_bias=_logit_bias(fields),
        seed=fields.integer("seed", default.seed),
        stop=fields.strings("stop"),
        stop_token_ids=fields.token_ids("stop_token_ids"),
        include_stop_str_in_output=fields.boolean("include_stop_str_in_output", default.include_stop_str_in_output),
        ignore_eos=fields.boolean("ignore_eos", default.ignore_eos),
        skip_special_tokens=fields.boolean("skip_special_tokens", default.skip_special_tokens),
        logprobs=logprobs,
        **extra_sampling(fields),
    )
    sampling.validate()
    return sampling


def _model_defaulted(fields: Fields) -> frozenset[str]:
    return frozenset(name for name in MODEL_DEFAULTED if fields.get(name) is None)


def _logit_bias(fields: Fields) -> dict[int, float]:
    """{"50256": -100} -> {50256: -100.0}. Whether the id is in the vocabulary, only the back end knows."""
    given = fields.object("logit_bias")
    if len(given) > MAX_LOGIT_BIASES:
        raise InvalidRequestError(
            f"logit_bias has {len(given)} entries; at most {MAX_LOGIT_BIASES} are allowed.", param="logit_bias"
        )
    values = Fields(given, "logit_bias.")
    biases: dict[int, float] = {}
    for key in given:
        if not (key.isascii() and key.isdigit() and len(key) <= 10):
            raise InvalidRequestError(f"logit_bias: {key[:40]!r} is not a token id.", param="logit_bias")
        biases[as_token_id("logit_bias", int(key))] = values.number(key, 0.0)
    return biases


# --- prompts --------------------------------------------------------------------------------------


def _prompts(fields: Fields) -> tuple[str | tuple[int, ...], ...]:
    """A string, a list of token ids, or a list of either."""
    given = fields.get("prompt")
    if given is None:
        raise InvalidRequestError(
            "prompt is missing; it must be a string, a list of token ids, or a list of these.", param="prompt"
        )
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list):
        raise expected("prompt", "a string, a list of token ids, or a list of these", given)
    if not given:
        raise InvalidRequestError("prompt is an empty list.", param="prompt")
    if not isinstance(given[0], (str, list)):
        return (_token_ids("prompt", given),)
    if len(given) > MAX_PROMPTS:
        raise InvalidRequestError(
            f"prompt is a list of {len(given)} prompts; at most {MAX_PROMPTS} are allowed.", param="prompt"
        )
    return tuple(_prompt(f"prompt[{index}]", item) for index, item in enumerate(given))


def _prompt(where: str, value: Any) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise expected(where, "a string or a list of token ids", value)
    if not value:
        raise InvalidRequestError(f"{where} is an empty list.", param="prompt")
    return _token_ids(where, value)


def _token_ids(where: str, values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(as_token_id(f"{where}[{index}]", value) for index, value in enumerate(values))
