"""Requests for embeddings and their answers: OpenAI's with extras of others (`input`), and llama.cpp's (`content`).

AgentScope's wrapper for any HTTP API calls the input `inputs`, unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from msgspec import UNSET, Struct, UnsetType

from inglenook.dialects.json_fields import Fields, as_token_id, decode_object, expected
from inglenook.dialects.openai.answers import encode_json, warnings_body
from inglenook.dialects.pooling.fields import (
    check_number,
    one_given,
    read_input_type,
    read_one_boolean,
    read_shared,
    refuse_or_report,
)
from inglenook.dialects.pooling.vectors import ENCODING_FORMATS, EncodingFormat, encoded_vector, lists_of_numbers
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Embeddings, EmbedRequest, Usage

_LLAMA_NORMALIZED: Mapping[int, bool] = {-1: False, 2: True}  # its norms of other kinds aren't ours


@dataclass(frozen=True)
class EmbeddingCall:
    """A request with what concerns only its answer's form. `unknown_fields` goes into a response header."""

    request: EmbedRequest
    encoding_format: EncodingFormat
    is_llama_cpp: bool
    unknown_fields: tuple[str, ...] = ()


def parse_embedding(body: bytes, request_id: str) -> EmbeddingCall:
    """Body of POST /v1/embeddings. Raises InvalidRequestError, naming the field."""
    return read_embedding(Fields(decode_object(body)), request_id)


def read_embedding(fields: Fields, request_id: str) -> EmbeddingCall:
    name = one_given(fields, "input", "inputs", "content")
    request = EmbedRequest(inputs=read_inputs(fields, name), **read_embed_options(fields, request_id))
    encoding_format = read_encoding_format(fields)
    is_llama_cpp = name == "content"
    if is_llama_cpp and encoding_format == "base64":
        raise UnsupportedParameterError(
            "encoding_format is base64, which the form with content doesn't have. Use input instead of content.",
            param="encoding_format",
        )
    return EmbeddingCall(request, encoding_format, is_llama_cpp, refuse_or_report(fields.unread()))


def read_encoding_format(fields: Fields) -> EncodingFormat:
    return cast(EncodingFormat, fields.choice("encoding_format", "float", ENCODING_FORMATS))


def read_embed_options(fields: Fields, request_id: str) -> dict[str, Any]:
    """Of an EmbedRequest all but the inputs."""
    dimensions = fields.integer("dimensions", None)
    if dimensions is not None and dimensions < 1:
        raise InvalidRequestError(f"dimensions is {dimensions}; it must be at least 1.", param="dimensions")
    return {
        **read_shared(fields, request_id),
        "dimensions": dimensions,
        "prompt_name": fields.string("prompt_name", None),
        "input_type": read_input_type(fields),
        "is_normalized": _read_normalized(fields),
        "add_special_tokens": fields.boolean("add_special_tokens", True),
    }


def _read_normalized(fields: Fields) -> bool | None:
    """vLLM's name, its older one, Jina's; and llama.cpp's number of a norm."""
    is_normalized = read_one_boolean(fields, "use_activation", "normalize", "normalized")
    norm = fields.integer("embd_normalize", None)
    if norm is None:
        return is_normalized
    if norm not in _LLAMA_NORMALIZED:
        raise UnsupportedParameterError(
            f"embd_normalize is {norm}; 2 (Euclidean) and -1 (none) are supported.", param="embd_normalize"
        )
    return _LLAMA_NORMALIZED[norm]


def read_inputs(fields: Fields, name: str) -> tuple[str | tuple[int, ...], ...]:
    """A string, a list of token ids, or a list of either."""
    given = fields.get(name)
    if given is None:
        raise InvalidRequestError(
            f"{name} is missing; it must be a string, a list of token ids, or a list of these.", param=name
        )
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list):
        raise expected(name, "a string, a list of token ids, or a list of these", given)
    if given and not isinstance(given[0], (str, list)):
        return (_token_ids(name, given),)
    check_number(name, given)
    return tuple(_read_input(f"{name}[{index}]", item) for index, item in enumerate(given))


def _read_input(where: str, value: Any) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise expected(where, "a string or a list of token ids", value)
    if not value:
        raise InvalidRequestError(f"{where} is an empty list.", param=where)
    return _token_ids(where, value)


def _token_ids(where: str, values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(as_token_id(f"{where}[{index}]", value) for index, value in enumerate(values))


# --- answers --------------------------------------------------------------------------------------


class PoolingUsage(Struct):
    """Nothing but these two: AgentScope takes no other number where nothing is generated."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingBody(Struct):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Struct):
    object: Literal["list"]
    data: list[EmbeddingBody]
    model: str
    usage: PoolingUsage
    warnings: list[str] | UnsetType = UNSET


class LlamaEmbedding(Struct):
    """A list of vectors, one of them: llama.cpp has one for each token where the model pools nothing."""

    index: int
    embedding: list[list[float]]


def embedding_body(call: EmbeddingCall, model: str, answer: Embeddings, warnings: Sequence[str] = ()) -> bytes:
    """`model` is the name that was asked for; `warnings` go before those of the answer."""
    if call.is_llama_cpp:
        rows = lists_of_numbers(answer.vectors)
        return encode_json([LlamaEmbedding(index, [row]) for index, row in enumerate(rows)])
    data = [
        EmbeddingBody("embedding", index, encoded_vector(row, call.encoding_format))
        for index, row in enumerate(answer.vectors)
    ]
    return encode_json(
        EmbeddingList("list", data, model, pooling_usage(answer.usage), warnings_body((*warnings, *answer.warnings)))
    )


def pooling_usage(usage: Usage) -> PoolingUsage:
    return PoolingUsage(usage.prompt_tokens, usage.prompt_tokens)
