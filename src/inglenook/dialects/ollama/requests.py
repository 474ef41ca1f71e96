"""Bodies of Ollama's POST /api/chat, /api/generate, /api/embed and /api/embeddings -> our requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inglenook.dialects.json_fields import Fields, decode_object, expected
from inglenook.dialects.ollama.messages import check_images, is_prefilled, parse_messages
from inglenook.dialects.ollama.options import Options, parse_options, unsupported
from inglenook.dialects.openai.tools import parse_tools
from inglenook.dialects.unread import sort_unread
from inglenook.errors import InvalidRequestError
from inglenook.types import (
    ChatRequest,
    CompletionRequest,
    Constraint,
    EmbedRequest,
    Message,
    ReasoningOptions,
    ToolUse,
)

# Refused by name on the routes that generate, unless the value asks for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "shift": (),
    "width": (),
    "height": (),
    "steps": (),
}

_EFFORTS = ("low", "medium", "high", "max")


@dataclass(frozen=True)
class OllamaCall:
    """`request` is None where the model is only to be loaded, or with `keep_alive` 0 to be unloaded.

    `context` are the tokens of an earlier answer, which /api/generate goes on from.
    """

    model: str
    request: ChatRequest | CompletionRequest | None
    stream: bool
    unknown_fields: tuple[str, ...]
    warnings: tuple[str, ...]
    is_unload: bool = False
    context: tuple[int, ...] = ()


@dataclass(frozen=True)
class EmbedCall:
    model: str
    request: EmbedRequest
    unknown_fields: tuple[str, ...]


def parse_chat(body: bytes, request_id: str) -> OllamaCall:
    """Raises InvalidRequestError, naming the field."""
    return read_chat(Fields(decode_object(body)), request_id)


def parse_generate(body: bytes, request_id: str) -> OllamaCall:
    """As `parse_chat`."""
    return read_generate(Fields(decode_object(body)), request_id)


def parse_embed(body: bytes, request_id: str) -> EmbedCall:
    """As `parse_chat`."""
    return read_embed(Fields(decode_object(body)), request_id)


def parse_embeddings(body: bytes, request_id: str) -> EmbedCall:
    """As `parse_chat`: the older route, for one text."""
    return read_embeddings(Fields(decode_object(body)), request_id)


def read_model(fields: Fields) -> str:
    """`name` is what `model` was called at first."""
    model, name = fields.string("model", ""), fields.string("name", "")
    model = model or name
    if not model:
        raise InvalidRequestError("model is required", param="model")
    return model


def read_show(fields: Fields) -> str:
    """The model of POST /api/show."""
    fields.boolean("verbose", False)  # nothing is left out
    return read_model(fields)


def read_pull(fields: Fields) -> tuple[str, bool]:
    """The model of POST /api/pull, and whether the answer is a stream."""
    fields.boolean("insecure", False)
    return read_model(fields), fields.boolean("stream", True)


def read_chat(fields: Fields, request_id: str) -> OllamaCall:
    model = read_model(fields)
    messages = parse_messages(fields)
    options = parse_options(fields)
    tools = parse_tools(fields)
    shared = _shared(fields, model, request_id, options)
    reasoning = _reasoning(fields)
    request = None
    if messages:
        continues = is_prefilled(messages)
        request = ChatRequest(
            **shared,
            messages=messages,
            add_generation_prompt=not continues,
            continue_final_message=continues,
            tool_use=ToolUse(tools),
            reasoning=reasoning,
        )
    return _call(fields, model, request, options)


def read_generate(fields: Fields, request_id: str) -> OllamaCall:
    model = read_model(fields)
    options = parse_options(fields)
    check_images(fields)
    prompt, system = fields.string("prompt", ""), fields.string("system", "")
    is_raw = fields.boolean("raw", False)
    suffix, template = fields.string("suffix", ""), fields.string("template", "")
    context = fields.token_ids("context")
    shared = _shared(fields, model, request_id, options)
    reasoning = _reasoning(fields)
    request: ChatRequest | CompletionRequest | None = None
    if prompt and (is_raw or suffix):
        given = {"system": system, "context": context, "template": template}
        name = next((name for name, value in given.items() if value), None)
        if name is not None:
            why = "raw takes the prompt as it is" if is_raw else "suffix asks for what stands between two texts"
            raise InvalidRequestError(f"{why}, without {name}.", param=name)
        request = CompletionRequest(**shared, prompts=(prompt,), suffix=suffix or None)
    elif prompt:
        messages = (*((Message("system", system),) if system else ()), Message("user", prompt))
        request = ChatRequest(**shared, messages=messages, reasoning=reasoning, chat_template=template or None)
    return _call(fields, model, request, options, context)


def _shared(fields: Fields, model: str, request_id: str, options: Options) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "model": model,
        "sampling": options.sampling,
        "model_defaulted": options.model_defaulted,
        "constraint": _format(fields),
        "max_total_tokens": options.num_ctx,
        # Ollama cuts a prompt that is too long unless it is told not to; here it has to be told to.
        "truncate_prompt_tokens": -1 if fields.boolean("truncate", False) else None,
    }


def _call(
    fields: Fields,
    model: str,
    request: ChatRequest | CompletionRequest | None,
    options: Options,
    context: tuple[int, ...] = (),
) -> OllamaCall:
    stream = fields.boolean("stream", True)
    is_unload = is_zero(fields.get("keep_alive")) and request is None
    unknown = _refuse_or_report(fields) + options.unknown
    return OllamaCall(model, request, stream, unknown, options.warnings, is_unload, context)


def is_zero(keep_alive: Any) -> bool:
    """Of a number of seconds, or a text such as 5m."""
    if isinstance(keep_alive, str):
        return keep_alive.strip().rstrip("smh") in ("0", "0.0")
    return keep_alive is not None and not isinstance(keep_alive, bool) and keep_alive == 0


# --- embeddings -----------------------------------------------------------------------------------


def read_embed(fields: Fields, request_id: str) -> EmbedCall:
    model = read_model(fields)
    given = fields.get("input")
    if given is not None and not isinstance(given, (str, list)):
        raise expected("input", "a string or a list of strings", given)
    inputs = () if given in (None, "") else fields.strings("input")
    return _embed_call(fields, model, request_id, inputs, fields.integer("dimensions", None), is_normalized=True)


def read_embeddings(fields: Fields, request_id: str) -> EmbedCall:
    model = read_model(fields)
    prompt = fields.string("prompt", "")
    return _embed_call(fields, model, request_id, (prompt,) if prompt else (), None, is_normalized=None)


def _embed_call(
    fields: Fields,
    model: str,
    request_id: str,
    inputs: tuple[str, ...],
    dimensions: int | None,
    *,
    is_normalized: bool | None,
) -> EmbedCall:
    is_cut = fields.boolean("truncate", True)
    fields.get("keep_alive")
    fields.object("options")  # they are for generating
    request = EmbedRequest(
        request_id,
        model,
        truncate_prompt_tokens=-1 if is_cut else None,
        inputs=inputs,
        dimensions=dimensions,
        is_normalized=is_normalized,
    )
    return EmbedCall(model, request, _refuse_or_report(fields))


# --- fields ---------------------------------------------------------------------------------------


def _format(fields: Fields) -> Constraint | None:
    """ "json", a JSON Schema, or an empty string for none."""
    value = fields.get("format")
    if value is None or value in ("", {}):
        return None
    if value == "json":
        return Constraint("json_object", None, "format")
    if isinstance(value, dict):
        return Constraint("json_schema", value, "format")
    if isinstance(value, str):
        raise InvalidRequestError(f'format is {value[:40]!r}; it must be "json" or a JSON Schema.', param="format")
    raise expected("format", '"json" or a JSON Schema', value)


def _reasoning(fields: Fields) -> ReasoningOptions:
    think = fields.get("think")
    if think is None or think == "":
        return ReasoningOptions()
    if isinstance(think, bool):
        return ReasoningOptions(is_enabled=think, is_included=think)
    if think not in _EFFORTS:
        shown = f"{think[:40]!r}" if isinstance(think, str) else "something else"
        raise InvalidRequestError(
            f"think is {shown}; it must be true, false or one of {', '.join(_EFFORTS)}.", param="think"
        )
    return ReasoningOptions(think, True)


def _refuse_or_report(fields: Fields) -> tuple[str, ...]:
    return sort_unread(fields.unread(), REFUSED, (), unsupported)
