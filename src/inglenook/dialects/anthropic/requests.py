"""Bodies of Anthropic's POST /v1/messages and /v1/messages/count_tokens -> ChatRequest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inglenook.dialects.anthropic.fields import check_context_management, refuse_or_report
from inglenook.dialects.anthropic.messages import parse_conversation
from inglenook.dialects.anthropic.tools import parse_tool_use
from inglenook.dialects.json_fields import Fields, decode_object, expected
from inglenook.errors import InvalidRequestError
from inglenook.types import MODEL_DEFAULTED, ChatRequest, Constraint, ReasoningOptions, SamplingParams

_THINKING = ("enabled", "disabled", "adaptive", "between_tools")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_SAMPLED = ("temperature", "top_p", "top_k")  # what of MODEL_DEFAULTED this dialect has
_SERVICE_TIERS = ("auto", "standard_only")


@dataclass(frozen=True)
class MessagesCall:
    """A request with what concerns only its answer's form. `shows_thinking`: its blocks have their text.

    `max_tokens` is what was asked for. With 0, which only fills the cache, the request has 1: so it is computed.
    """

    request: ChatRequest
    max_tokens: int
    stream: bool
    shows_thinking: bool
    unknown_fields: tuple[str, ...]
    warnings: tuple[str, ...]


def parse_messages(body: bytes, request_id: str) -> MessagesCall:
    """Raises InvalidRequestError, naming the field."""
    return read_messages(Fields(decode_object(body)), request_id)


def parse_count(body: bytes) -> MessagesCall:
    """As parse_messages, without what is needed for an answer only."""
    return read_messages(Fields(decode_object(body)), "count", needs_max_tokens=False)


def read_messages(fields: Fields, request_id: str, *, needs_max_tokens: bool = True) -> MessagesCall:
    max_tokens = fields.integer("max_tokens", None)
    if max_tokens is None and needs_max_tokens:
        raise InvalidRequestError("max_tokens is missing; it must be an integer.", param="max_tokens")
    conversation = parse_conversation(fields)
    reasoning, shows_thinking = _reasoning(fields)
    request = ChatRequest(
        request_id=request_id,
        model=fields.string("model", ""),
        sampling=_sampling(fields, max_tokens if max_tokens is None else max_tokens or 1),
        model_defaulted=MODEL_DEFAULTED - {name for name in _SAMPLED if fields.get(name) is not None},
        constraint=_constraint(fields),
        messages=conversation.messages,
        add_generation_prompt=not conversation.is_prefilled,
        continue_final_message=conversation.is_prefilled,
        tool_use=parse_tool_use(fields),
        reasoning=reasoning,
    )
    check_context_management(fields)
    tier = fields.string("service_tier", "auto")
    if tier not in _SERVICE_TIERS:
        raise InvalidRequestError(
            f"service_tier is {tier[:40]!r}; it must be one of {', '.join(_SERVICE_TIERS)}.", param="service_tier"
        )
    stream = fields.boolean("stream", False)
    unknown = refuse_or_report(fields.unread())
    return MessagesCall(request, max_tokens or 0, stream, shows_thinking, unknown, conversation.warnings)


def _sampling(fields: Fields, max_tokens: int | None) -> SamplingParams:
    default = SamplingParams()
    temperature = fields.number("temperature", default.temperature)
    if not temperature <= 1:  # twice that on OpenAI's routes
        raise InvalidRequestError(f"temperature is {temperature}; it must be in [0, 1].", param="temperature")
    sampling = SamplingParams(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=fields.number("top_p", default.top_p),
        top_k=fields.integer("top_k", default.top_k),
        stop=_stop_sequences(fields),
    )
    sampling.validate()
    return sampling


def _stop_sequences(fields: Fields) -> tuple[str, ...]:
    given = fields.get("stop_sequences")
    if given is not None and not isinstance(given, list):
        raise expected("stop_sequences", "a list of strings", given)
    texts = fields.strings("stop_sequences")
    if "" in texts:
        raise InvalidRequestError("stop_sequences holds an empty string; leave it out.", param="stop_sequences")
    return texts


def _constraint(fields: Fields) -> Constraint | None:
    """output_config.format; output_format is what it was called at first."""
    config = fields.inside("output_config")
    found = [_format(config, "format"), _format(fields, "output_format")]
    given = [constraint for constraint in found if constraint is not None]
    if len(given) > 1:
        raise InvalidRequestError("output_format is the older name of output_config.format; send one of the two.")
    return given[0] if given else None


def _format(fields: Fields, key: str) -> Constraint | None:
    where = fields.name(key)
    if not fields.object(key):
        return None
    values = fields.inside(key)
    kind = values.string("type", "")
    if kind != "json_schema":
        raise InvalidRequestError(f"{where}.type is {kind[:40]!r}; it must be json_schema.", param=f"{where}.type")
    schema: Any = values.get("schema")
    if not isinstance(schema, dict):
        raise expected(f"{where}.schema", "a JSON Schema", schema)
    return Constraint("json_schema", schema, f"{where}.schema")


def _reasoning(fields: Fields) -> tuple[ReasoningOptions, bool]:
    """Without `thinking` a model that needn't think doesn't: clients that don't ask take the first block for the text.

    Thinking that nobody asked for is left out of the answer.
    """
    config = fields.inside("output_config")
    config.skip("task_budget")  # advice for agents, whose next requests aren't known here
    effort = _one_of(config, "effort", _EFFORTS)
    given = fields.inside("thinking")
    kind = _one_of(given, "type", _THINKING)
    budget = given.integer("budget_tokens", None)
    if budget is not None and budget < 1:
        raise InvalidRequestError(
            f"thinking.budget_tokens is {budget}; it must be at least 1.", param="thinking.budget_tokens"
        )
    display = _one_of(given, "display", ("summarized", "omitted"))
    if kind == "enabled":
        return ReasoningOptions(effort, True, budget), display != "omitted"
    if kind in ("adaptive", "between_tools"):
        return ReasoningOptions(effort), display != "omitted"
    is_enabled = None if effort is not None and kind is None else False
    return ReasoningOptions(effort if kind is None else None, is_enabled, is_included=False), True


def _one_of(fields: Fields, key: str, allowed: tuple[str, ...]) -> str | None:
    value = fields.string(key, None)
    if value is not None and value not in allowed:
        name = fields.name(key)
        raise InvalidRequestError(f"{name} is {value[:40]!r}; it must be one of {', '.join(allowed)}.", param=name)
    return value
