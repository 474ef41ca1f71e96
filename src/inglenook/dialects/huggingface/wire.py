"""The JSON objects of Text Generation Inference's answers. UNSET keys are left out; None is written as null."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

FinishReason = Literal["length", "eos_token", "stop_sequence"]


class PrefillToken(Struct):
    """A token of the prompt; the first one has no probability."""

    id: int
    text: str
    logprob: float | None


class Token(Struct):
    id: int
    text: str  # what it adds to generated_text: nothing where it is special, or a character isn't whole yet
    logprob: float
    special: bool


class Sequence(Struct):
    """One that wasn't the best."""

    generated_text: str
    finish_reason: FinishReason
    generated_tokens: int
    prefill: list[PrefillToken]
    tokens: list[Token]
    seed: int | None
    top_tokens: list[list[Token]] | UnsetType = UNSET


class Details(Struct):
    finish_reason: FinishReason
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillToken]
    tokens: list[Token]
    best_of_sequences: list[Sequence] | UnsetType = UNSET
    top_tokens: list[list[Token]] | UnsetType = UNSET


class Generated(Struct):
    generated_text: str
    details: Details | UnsetType = UNSET


class StreamDetails(Struct):
    finish_reason: FinishReason
    generated_tokens: int
    seed: int | None
    input_length: int


class StreamEvent(Struct):
    index: int  # from 1
    token: Token
    generated_text: str | None
    details: StreamDetails | None
    top_tokens: list[Token] | UnsetType = UNSET


class ErrorBody(Struct):
    error: str
    error_type: str
    estimated_time: float | UnsetType = UNSET  # s; while the server can't answer yet


class Info(Struct):
    model_id: str
    model_sha: None
    model_pipeline_tag: str
    max_concurrent_requests: int
    max_best_of: int
    max_stop_sequences: int
    max_input_tokens: int
    max_total_tokens: int
    validation_workers: int
    max_client_batch_size: int
    router: str
    version: str
    sha: None = None
    docker_label: None = None
