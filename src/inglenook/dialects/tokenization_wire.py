"""The JSON objects of the routes that show prompts and tokens."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class VllmTokens(Struct):
    """vLLM's answer to /tokenize."""

    count: int
    max_model_len: int
    tokens: tuple[int, ...]
    token_strs: list[str] | None
    warnings: tuple[str, ...] | UnsetType = UNSET


class Piece(Struct):
    """A token's text; its bytes where they are no whole characters."""

    id: int
    piece: str | list[int]


class LlamaCppTokens(Struct):
    """llama.cpp's answer to /tokenize, `with_pieces` or without."""

    tokens: list[int | Piece]


class TgiToken(Struct):
    """One of the list that Text Generation Inference answers. Offsets are in characters."""

    id: int
    text: str
    start: int
    stop: int


class Detokenized(Struct):
    """vLLM calls it prompt, llama.cpp content; their requests are the same."""

    prompt: str
    content: str


class RenderedBody(Struct):
    object: Literal["prompt"]
    model: str
    prompt: str
    token_ids: tuple[int, ...]
    count: int
    max_model_len: int
    warnings: tuple[str, ...]


class AppliedTemplate(Struct):
    prompt: str


class InputTokens(Struct):
    object: Literal["response.input_tokens"]
    input_tokens: int
