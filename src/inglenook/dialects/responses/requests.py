"""The body of POST /v1/responses -> a ChatRequest, but for its messages, and the answer as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from msgspec import UNSET

from inglenook.dialects.json_fields import Fields, decode_object, expected
from inglenook.dialects.openai.constraints import read_schema
from inglenook.dialects.openai.requests import read_chat
from inglenook.dialects.responses import wire
from inglenook.dialects.responses.fields import LOGPROBS, REFUSED, WITHOUT_EFFECT, refuse
from inglenook.dialects.responses.input import Item, parse_input
from inglenook.dialects.responses.messages import to_messages
from inglenook.dialects.responses.tools import ResponseTools, parse_tools
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import MAX_LOGPROBS, ChatRequest, Constraint

MAX_METADATA = 16
MAX_METADATA_KEY_CHARS = 64
MAX_METADATA_VALUE_CHARS = 512

SEALED_THINKING = "reasoning.encrypted_content"
INCLUDABLE = (
    LOGPROBS,
    SEALED_THINKING,
    # of what this server never answers with
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)

# What the parser of chats finds in place of these fields.
_CHAT_INSTEAD: Mapping[str, Any] = {
    **dict.fromkeys((*REFUSED, "tools", "tool_choice", "stream", "stream_options", "add_generation_prompt")),
    "messages": [{"role": "user", "content": ""}],
}


@dataclass(frozen=True)
class ResponseCall:
    """A request, with what concerns its answer's form and what is kept. `skeleton` is the answer before it begins.

    `items` are those of this request; `request` has no messages before `with_items` gives them.
    """

    request: ChatRequest
    skeleton: wire.Response
    items: list[Item]
    tools: ResponseTools
    is_streamed: bool
    must_store: bool  # said so itself
    seals_thinking: bool
    unknown_fields: tuple[str, ...]
    warnings: tuple[str, ...]

    def with_items(self, items: Sequence[Item]) -> ChatRequest:
        """The request of a conversation with these items."""
        return replace(self.request, messages=to_messages(self.skeleton.instructions, items))


def parse_response(body: bytes, response_id: str, created_at: int) -> ResponseCall:
    """Raises InvalidRequestError, naming the field. `created_at` is Unix time, s."""
    return read_response(Fields(decode_object(body)), response_id, created_at)


def read_response(fields: Fields, response_id: str, created_at: int) -> ResponseCall:
    refuse(fields)
    items = parse_input(fields)
    previous_id = fields.string("previous_response_id", None)
    if not items and previous_id is None:
        raise InvalidRequestError("input is missing; it must be a string or a list of items.", param="input")
    include = _include(fields)
    top_logprobs = _top_logprobs(fields)
    max_tokens = _at_least_one(fields, "max_output_tokens")
    tools = parse_tools(fields)
    text, constraint = _text(fields)
    reasoning, warnings = _reasoning(fields)
    stream = fields.boolean("stream", False)
    _check_stream_options(fields, is_streamed=stream)
    background, store = fields.boolean("background", False), fields.boolean("store", None)
    if background and store is False:
        raise InvalidRequestError("background needs store: the answer is fetched from there.", param="background")
    if background and stream:
        raise UnsupportedParameterError("background responses can't be streamed; poll for them.", param="stream")
    skeleton = wire.Response(
        id=response_id,
        created_at=created_at,
        status="in_progress",
        background=background,
        instructions=fields.string("instructions", None),
        max_output_tokens=max_tokens,
        max_tool_calls=_at_least_one(fields, "max_tool_calls"),
        model=fields.string("model", ""),
        output=[],
        parallel_tool_calls=fields.boolean("parallel_tool_calls", True),
        previous_response_id=previous_id,
        prompt_cache_key=fields.string("prompt_cache_key", None),
        reasoning=reasoning,
        safety_identifier=fields.string("safety_identifier", None),
        store=store is not False,
        temperature=fields.number("temperature", None),
        text=text,
        tool_choice=tools.choice,
        tools=tools.definitions,
        top_logprobs=top_logprobs,
        top_p=fields.number("top_p", None),
        truncation=cast(wire.Truncation, fields.choice("truncation", "disabled", ("auto", "disabled"))),
        user=fields.string("user", UNSET),
        metadata=_metadata(fields),
    )
    fields.skip(*WITHOUT_EFFECT)
    parsed = read_chat(_as_chat(fields, top_logprobs if LOGPROBS in include else None), response_id)
    if constraint is not None and parsed.request.constraint is not None:
        param = parsed.request.constraint.param
        raise InvalidRequestError(
            f"Several constraints were given (text.format, {param}); an answer can follow one.", param=param
        )
    request = replace(
        parsed.request,
        sampling=replace(parsed.request.sampling, max_tokens=max_tokens),
        constraint=constraint or parsed.request.constraint,
        tool_use=tools.use,
        messages=(),
    )
    return ResponseCall(
        request,
        skeleton,
        items,
        tools,
        is_streamed=stream,
        must_store=store is True or background,
        seals_thinking=SEALED_THINKING in include,
        unknown_fields=parsed.unknown_fields,
        warnings=(*warnings, *parsed.warnings),
    )


def _as_chat(fields: Fields, logprobs: int | None) -> Fields:
    return fields.replacing(
        {
            **_CHAT_INSTEAD,
            "logprobs": logprobs is not None,
            "top_logprobs": logprobs or 0,
        }
    )


# --- fields ---------------------------------------------------------------------------------------


def _include(fields: Fields) -> tuple[str, ...]:
    given = fields.strings("include")
    for name in given:
        if name not in INCLUDABLE:
            raise InvalidRequestError(
                f"include has {name[:60]!r}; it can have {', '.join(INCLUDABLE)}.", param="include"
            )
    return given


def _top_logprobs(fields: Fields) -> int:
    num_top = fields.integer("top_logprobs", 0)
    if not 0 <= num_top <= MAX_LOGPROBS:
        raise InvalidRequestError(
            f"top_logprobs is {num_top}; it must be between 0 and {MAX_LOGPROBS}.", param="top_logprobs"
        )
    return num_top


def _at_least_one(fields: Fields, key: str) -> int | None:
    value = fields.integer(key, None)
    if value is not None and value < 1:
        raise InvalidRequestError(f"{key} is {value}; it must be at least 1.", param=key)
    return value


def _text(fields: Fields) -> tuple[wire.TextConfig, Constraint | None]:
    """What the answer repeats of it, and what it is held to."""
    text = fields.inside("text")
    verbosity = text.choice("verbosity", None, ("low", "medium", "high"))
    if verbosity not in (None, "medium"):
        raise UnsupportedParameterError("text.verbosity isn't supported; leave it out.", param="text.verbosity")
    given = text.inside("format")
    given.skip("name", "description", "schema", "strict")  # of the last type
    kind = given.choice("type", "text", ("text", "json_object", "json_schema"))
    if kind == "text":
        return wire.TextConfig(wire.PlainFormat()), None
    if kind == "json_object":
        return wire.TextConfig(wire.JsonFormat()), Constraint("json_object", None, "text.format")
    where = "text.format.schema"
    schema = given.get("schema")
    if schema is None:
        raise InvalidRequestError(f"{where} is missing.", param=where)
    constraint = Constraint("json_schema", read_schema(where, schema), where)
    answered = wire.SchemaFormat(
        name=given.string("name", "answer"),
        description=given.string("description", UNSET),
        schema=_as_object(constraint.value),
        strict=given.boolean("strict", None),
    )
    return wire.TextConfig(answered), constraint


def _as_object(schema: dict[str, Any] | bool) -> dict[str, Any]:
    """true and false as OpenAI's type of a schema can have them."""
    if isinstance(schema, dict):
        return schema
    return {} if schema else {"not": {}}


def _reasoning(fields: Fields) -> tuple[wire.Reasoning, tuple[str, ...]]:
    given = fields.inside("reasoning")
    given.string("context", None)  # which turns show their thinking is decided by the model's template
    if given.string("mode", "standard") != "standard":
        raise UnsupportedParameterError("reasoning.mode isn't supported; leave it out.", param="reasoning.mode")
    kinds = ("auto", "concise", "detailed")
    summary = given.choice("summary", given.choice("generate_summary", None, kinds), kinds)
    warnings: tuple[str, ...] = ()
    if summary is not None:
        warnings = ("reasoning.summary: this server writes no summaries; the thinking itself is in the answer.",)
    return wire.Reasoning(cast(wire.Effort | None, given.choice("effort", None, get_args(wire.Effort)))), warnings


def _check_stream_options(fields: Fields, *, is_streamed: bool) -> None:
    options = fields.inside("stream_options")
    if fields.get("stream_options") is not None and not is_streamed:
        raise InvalidRequestError("stream_options is only allowed where stream is true.", param="stream_options")
    options.boolean("include_obfuscation", False)  # padding against traffic analysis: of no use without TLS


def _metadata(fields: Fields) -> dict[str, str]:
    given = fields.object("metadata")
    if len(given) > MAX_METADATA:
        raise InvalidRequestError(
            f"metadata has {len(given)} keys; at most {MAX_METADATA} are allowed.", param="metadata"
        )
    for key, value in given.items():
        if not isinstance(value, str):
            raise expected(f"metadata.{key[:MAX_METADATA_KEY_CHARS]}", "a string", value)
        if len(key) > MAX_METADATA_KEY_CHARS or len(value) > MAX_METADATA_VALUE_CHARS:
            raise InvalidRequestError(
                f"metadata: keys have at most {MAX_METADATA_KEY_CHARS} characters, values {MAX_METADATA_VALUE_CHARS}.",
                param="metadata",
            )
    return given
