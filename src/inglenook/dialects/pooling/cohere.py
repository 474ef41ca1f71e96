"""Cohere's POST /v2/embed and /v1/embed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from inglenook.dialects.json_fields import Fields, expected
from inglenook.dialects.openai.answers import encode_json, warnings_body
from inglenook.dialects.pooling.embeddings import read_embed_options
from inglenook.dialects.pooling.fields import check_number, one_given, refuse_or_report
from inglenook.dialects.pooling.ranking import ApiVersion
from inglenook.dialects.pooling.vectors import as_base64, lists_of_numbers
from inglenook.errors import InglenookError, InvalidRequestError, UnsupportedParameterError
from inglenook.types import Embeddings, EmbedRequest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EMBEDDING_TYPES = ("float", "int8", "uint8", "binary", "ubinary", "base64")


@dataclass(frozen=True)
class CohereCall:
    """`types` is empty where the first version's flat form is wanted."""

    request: EmbedRequest
    texts: tuple[str, ...]
    types: tuple[str, ...]
    version: Literal["1", "2"]
    unknown_fields: tuple[str, ...] = ()


# --- requests -------------------------------------------------------------------------------------


def read_cohere(fields: Fields, request_id: str, version: Literal["1", "2"]) -> CohereCall:
    """Raises InvalidRequestError, naming the field. What is too long is cut, unless `truncate` is NONE."""
    if "images" in fields.names():
        raise UnsupportedParameterError("images: this server embeds texts. Leave it out.", param="images")
    is_default = fields.get("truncate") is None
    max_tokens = fields.integer("max_tokens", None)
    fields.also("dimensions", "output_dimension")
    options = read_embed_options(fields, request_id)
    if is_default and options["truncate_prompt_tokens"] is None:
        options["truncate_prompt_tokens"] = -1
    if max_tokens is not None:
        if max_tokens < 1 or options["truncate_prompt_tokens"] != -1:
            raise InvalidRequestError("max_tokens must be at least 1, and truncate START or END.", param="max_tokens")
        options["truncate_prompt_tokens"] = max_tokens
    texts = _read_texts(fields)
    types = _read_types(fields)
    request = EmbedRequest(inputs=texts, **options)
    if version == "2":
        types = types or ("float",)
    return CohereCall(request, texts, types, version, refuse_or_report(fields.unread()))


def _read_texts(fields: Fields) -> tuple[str, ...]:
    name = one_given(fields, "texts", "inputs")
    given = fields.get(name)
    if given is None:
        raise InvalidRequestError("texts is missing; it must be a list of strings.", param="texts")
    if not isinstance(given, list):
        raise expected(name, "a list", given)
    check_number(name, given)
    read = _read_content if name == "inputs" else _read_text
    return tuple(read(f"{name}[{index}]", item) for index, item in enumerate(given))


def _read_text(where: str, given: Any) -> str:
    if not isinstance(given, str):
        raise expected(where, "a string", given)
    return given


def _read_content(where: str, given: Any) -> str:
    """{"content": [{"type": "text", "text": ...}]}: the text."""
    content = given.get("content") if isinstance(given, dict) else None
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        raise InvalidRequestError(
            f'{where}: expected {{"content": [...]}} with one object of the type text.', param=f"{where}.content"
        )
    [part] = content
    if part.get("type") != "text":
        raise UnsupportedParameterError(
            f"{where}: this server embeds texts; images and the like are not supported.", param=f"{where}.content"
        )
    return _read_text(f"{where}.content[0].text", part.get("text"))


def _read_types(fields: Fields) -> tuple[str, ...]:
    types = fields.strings("embedding_types")
    for name in types:
        if name not in EMBEDDING_TYPES:
            raise InvalidRequestError(
                f"embedding_types has {name[:40]!r}; there are {', '.join(EMBEDDING_TYPES)}.", param="embedding_types"
            )
    return types


# --- answers --------------------------------------------------------------------------------------


class EmbeddingsByType(Struct, rename={"float_": "float"}):
    """Those that were asked for. `binary` and `ubinary` have eight signs in a number, the first one its highest bit."""

    float_: list[list[float]] | UnsetType = UNSET
    int8: list[list[int]] | UnsetType = UNSET
    uint8: list[list[int]] | UnsetType = UNSET
    binary: list[list[int]] | UnsetType = UNSET
    ubinary: list[list[int]] | UnsetType = UNSET
    base64: list[str] | UnsetType = UNSET


class BilledTokens(Struct):
    """Tokens as they were counted: nothing is billed here."""

    input_tokens: int


class EmbedMeta(Struct):
    api_version: ApiVersion
    billed_units: BilledTokens
    warnings: list[str] | UnsetType = UNSET


class EmbedAnswer(Struct):
    id: str
    response_type: Literal["embeddings_by_type", "embeddings_floats"]
    embeddings: EmbeddingsByType | list[list[float]]
    texts: list[str]
    meta: EmbedMeta


class CohereError(Struct):
    id: str
    message: str


def cohere_body(call: CohereCall, answer: Embeddings, warnings: Sequence[str] = ()) -> bytes:
    """`warnings` go before those of the answer."""
    embeddings: Any = _by_type(call.types, answer.vectors) if call.types else lists_of_numbers(answer.vectors)
    meta = EmbedMeta(
        ApiVersion(call.version),
        BilledTokens(answer.usage.prompt_tokens),
        warnings_body((*warnings, *answer.warnings)),
    )
    kind: Any = "embeddings_by_type" if call.types else "embeddings_floats"
    return encode_json(EmbedAnswer(call.request.request_id, kind, embeddings, list(call.texts), meta))


def error_shape(error: InglenookError, request_id: str) -> tuple[int, bytes]:
    return error.status, encode_json(CohereError(request_id, error.message))


def _by_type(types: Sequence[str], vectors: npt.NDArray[np.float32]) -> EmbeddingsByType:
    found: dict[str, Any] = {}
    for name in types:
        if name == "base64":
            found[name] = [as_base64(row) for row in vectors]
        elif name == "float":
            found["float_"] = lists_of_numbers(vectors)
        else:
            found[name] = lists_of_numbers(_bits(vectors, name) if "binary" in name else _bytes(vectors, name))
    return EmbeddingsByType(**found)


def _bytes(vectors: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.int16]:
    """Each vector by itself, so that its largest number is 127: its direction stays, its length doesn't."""
    import numpy as np

    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    signed: npt.NDArray[np.int16] = np.rint(vectors.astype(np.float64) / largest * 127).astype(np.int16)
    return signed if name == "int8" else signed + np.int16(128)


def _bits(vectors: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.int16]:
    import numpy as np

    width = vectors.shape[1]
    if width % 8:
        raise InvalidRequestError(
            f"embedding_types has {name}, which needs vectors of a multiple of 8 numbers; this model's have {width}.",
            param="embedding_types",
        )
    packed = np.packbits(vectors > 0, axis=1).astype(np.int16)
    return packed if name == "ubinary" else packed - np.int16(128)
