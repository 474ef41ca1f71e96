"""Keywords of the Python API that are fields of requests over HTTP -> fields of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.openai.constraints import parse_constraint, parse_repair
from inglenook.dialects.openai.messages import parse_documents
from inglenook.dialects.openai.reasoning import parse_reasoning
from inglenook.dialects.openai.sampling import parse_repetition_detection
from inglenook.dialects.openai.tools import parse_tool_use
from inglenook.dialects.pooling.classes import read_classify_options
from inglenook.dialects.pooling.embeddings import read_embed_options
from inglenook.dialects.pooling.ranking import read_score_options
from inglenook.dialects.truncation import parse_truncation
from inglenook.errors import InvalidRequestError
from inglenook.types import RepetitionDetection

_SHARED = frozenset(
    (
        "response_format",
        "structured_outputs",
        "repair",
        "repair_keys",
        "truncate_prompt_tokens",
        "truncation_side",
    )
)
_COMPLETION = _SHARED | {"suffix", "echo", "add_special_tokens"}
_CHAT = _SHARED | {
    "echo",
    "add_special_tokens",
    "chat_template",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "thinking_token_budget",
    "chat_template_kwargs",
    "documents",
}


def take_options(params: dict[str, Any], *, is_chat: bool) -> dict[str, Any]:
    """Takes what it knows out of `params`. Raises InvalidRequestError, naming the keyword."""
    names = _CHAT if is_chat else _COMPLETION
    fields = Fields({name: params.pop(name) for name in names & params.keys()})
    options: dict[str, Any] = {
        "constraint": parse_constraint(fields),
        **parse_repair(fields),
        **parse_truncation(fields),
    }
    options["echo"] = fields.boolean("echo", False)
    options["add_special_tokens"] = fields.boolean("add_special_tokens", not is_chat)
    if not is_chat:
        options["suffix"] = fields.string("suffix", None) or None
    if is_chat:
        options["chat_template"] = fields.string("chat_template", None) or None
        template_kwargs = fields.object("chat_template_kwargs")
        options["chat_template_kwargs"] = template_kwargs
        options["tool_use"], _ = parse_tool_use(fields)
        options["reasoning"] = parse_reasoning(fields, template_kwargs)
        options["documents"] = parse_documents(fields)
    return options


def embed_options(params: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Of an EmbedRequest all but the inputs. Raises InvalidRequestError, naming the keyword."""
    return _known(Fields(params), lambda fields: read_embed_options(fields, request_id))


def score_options(params: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Of a ScoreRequest all but the pairs. Raises as `embed_options` does."""
    return _known(Fields(params), lambda fields: read_score_options(fields, request_id))


def classify_options(params: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Of a ClassifyRequest all but the inputs. Raises as `embed_options` does."""
    return _known(Fields(params), lambda fields: read_classify_options(fields, request_id))


def _known(fields: Fields, read: Callable[[Fields], dict[str, Any]]) -> dict[str, Any]:
    options = read(fields)
    unknown = fields.unread()
    if unknown:
        raise InvalidRequestError(f"Unknown parameters: {', '.join(sorted(unknown))}. See docs/embeddings.md.")
    return options


def sampling_values(params: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords that are fields of SamplingParams, in its types: a string or a list for each tuple, and so on."""
    values = dict(params)
    for name in ("stop", "stop_token_ids", "bad_words"):
        if isinstance(values.get(name), str):
            values[name] = (values[name],)
        elif name in values:
            values[name] = tuple(values[name] or ())
    if values.get("allowed_token_ids") is not None:
        values["allowed_token_ids"] = tuple(values["allowed_token_ids"])
    if not isinstance(values.get("repetition_detection"), RepetitionDetection | None):
        values["repetition_detection"] = parse_repetition_detection(Fields(values))
    return values


def option_names(*, is_chat: bool) -> frozenset[str]:
    return _CHAT if is_chat else _COMPLETION
