"""Fields that requests for vectors and for scores share, and those that are known without being honoured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inglenook.dialects.json_fields import Fields, expected
from inglenook.dialects.truncation import Truncation, parse_truncation
from inglenook.dialects.unread import sort_unread
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import InputType, TruncationSide

MAX_INPUTS = 2048  # as OpenAI has it

# Accepted, since they can't change an answer of this server.
WITHOUT_EFFECT = frozenset(
    {"user", "metadata", "timeout", "keep_alive", "request_id", "cache_salt", "id_slot", "cache_prompt"}
)

# Refused by name, unless the value asks for nothing: see openai_fields.
REFUSED: Mapping[str, tuple[Any, ...]] = {
    # input other than text
    "messages": (),
    "images": (),
    "prompt_embeds": (),
    "mm_processor_kwargs": (),
    "modality": ("text", ["text"]),
    # how the input is made
    "chat_template": (),
    "chat_template_kwargs": (),
    "instruction": (),
    "instruct": (),
    "prompt": (),
    "task": (),
    "late_chunking": (),
    "padding": ("do_not_pad",),
    "max_chunks_per_doc": (),
    "max_tokens_per_doc": (),
    "overlap_tokens": (),
    "rank_fields": (["text"],),
    # the form of the vectors
    "embed_dtype": ("float32",),
    "endianness": ("native", "little"),
    "output_dtype": ("float",),
    "embedding_type": ("float",),
    "embedding_types": (["float"],),
    "output_dimension": (),
    "pooling": (),
}

_INSTEAD = {
    "output_dimension": "Use dimensions.",
    "embedding_type": "Use encoding_format.",
    "embedding_types": "Use encoding_format.",
    "task": "Use prompt_name or input_type.",
    "max_tokens_per_doc": "Use truncate_prompt_tokens.",
    "instruction": "Put it before the text, or use prompt_name.",
    "instruct": "Put it before the text, or use prompt_name.",
}

_INPUT_TYPES: Mapping[str, InputType] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
    "classification": "classification",
    "clustering": "clustering",
}
_SIDES: Mapping[str, TruncationSide] = {"left": "left", "right": "right", "Left": "left", "Right": "right"}


def read_shared(fields: Fields, request_id: str) -> dict[str, Any]:
    """What of a PoolingRequest both kinds have."""
    return {
        "request_id": request_id,
        "model": fields.string("model", ""),
        "priority": fields.integer("priority", 0),
        **_read_truncation(fields),
    }


def read_input_type(fields: Fields) -> InputType | None:
    """Cohere's, Voyage's and NVIDIA's names for what the texts are."""
    name = fields.choice("input_type", None, _INPUT_TYPES)
    return None if name is None else _INPUT_TYPES[name]


def one_given(fields: Fields, *names: str) -> str:
    """Which of several servers' names is there: one at most may be; the first where none is."""
    given = [name for name in names if fields.get(name) is not None]
    if len(given) > 1:
        raise InvalidRequestError(f"{' and '.join(given)} exclude each other.", param=given[0])
    return given[0] if given else names[0]


def read_one_boolean(fields: Fields, *names: str) -> bool | None:
    """The same under several servers' names; None where none is given."""
    values = {name: value for name in names if (value := fields.boolean(name, None)) is not None}
    if len(set(values.values())) > 1:
        raise InvalidRequestError(f"{' and '.join(values)} contradict each other.", param=next(iter(values)))
    return next(iter(values.values()), None)


class NoInputsError(InvalidRequestError):
    """A list that needs an item has none. Some servers have a status of its own for it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is an empty list; at least one text is needed.", param=name)


class TooManyInputsError(InvalidRequestError):
    """As above."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} is a list of {number} texts; at most {MAX_INPUTS} are allowed.", param=name)


def check_number(name: str, items: Sequence[Any]) -> None:
    """Raises NoInputsError or TooManyInputsError."""
    if not items:
        raise NoInputsError(name)
    if len(items) > MAX_INPUTS:
        raise TooManyInputsError(name, len(items))


def refuse_or_report(unread: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that nobody knows. Raises UnsupportedParameterError for a field of REFUSED that asks for something."""
    return sort_unread(unread, REFUSED, WITHOUT_EFFECT, _unsupported)


def _unsupported(name: str) -> UnsupportedParameterError:
    advice = _INSTEAD.get(name, "Leave it out.")
    return UnsupportedParameterError(f"{name} is known to this server but not supported here. {advice}", param=name)


def _read_truncation(fields: Fields) -> Truncation:
    """vLLM's names; `truncate` as Text Embeddings Inference (true) and NVIDIA (NONE, START, END) have it, `truncation`
    as Jina and Voyage do."""
    truncation = parse_truncation(fields, default_side="right")
    direction = fields.choice("truncation_direction", None, _SIDES)
    is_wanted = fields.boolean("truncation", False)
    given = fields.get("truncate")
    if given in ("START", "END"):
        direction, is_wanted = ("left" if given == "START" else "right"), True
    elif isinstance(given, bool):
        is_wanted = is_wanted or given
    elif given not in (None, "NONE"):
        raise expected("truncate", "true, false, NONE, START or END", given)
    if direction is not None:
        truncation["truncation_side"] = _SIDES[direction]
    if is_wanted and truncation["truncate_prompt_tokens"] is None:
        truncation["truncate_prompt_tokens"] = -1
    return truncation
