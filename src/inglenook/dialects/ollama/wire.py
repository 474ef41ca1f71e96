"""The JSON objects of Ollama's answers, in its key order. UNSET keys are left out."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

# --- generating -----------------------------------------------------------------------------------


class FunctionBody(Struct):
    index: int
    name: str
    arguments: dict[str, Any]


class CallBody(Struct):
    id: str
    function: FunctionBody


class MessageBody(Struct):
    role: Literal["assistant"]
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[CallBody] | UnsetType = UNSET


class TopLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int]


class Logprob(Struct):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob] | UnsetType = UNSET


class Answer(Struct, kw_only=True):
    """What both routes have: a piece of an answer, or all of it. The last one has what begins with done_reason."""

    model: str
    created_at: str
    done: bool
    done_reason: str | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET  # all in ns
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    logprobs: list[Logprob] | UnsetType = UNSET


class ChatAnswer(Answer, kw_only=True):
    message: MessageBody


class GenerateAnswer(Answer, kw_only=True):
    response: str
    thinking: str | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET


class ErrorBody(Struct):
    error: str


# --- embeddings -----------------------------------------------------------------------------------


class EmbedAnswer(Struct):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsAnswer(Struct):
    embedding: list[float]


# --- models ---------------------------------------------------------------------------------------


class DetailsBody(Struct):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class TagBody(Struct):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: DetailsBody
    capabilities: list[str]


class TagList(Struct):
    models: list[TagBody]


class ProcessBody(Struct):
    name: str
    model: str
    size: int
    digest: str
    details: DetailsBody
    expires_at: str
    size_vram: int
    context_length: int


class ProcessList(Struct):
    models: list[ProcessBody]


class ShowBody(Struct):
    modelfile: str
    parameters: str
    template: str
    details: DetailsBody
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    license: str | UnsetType = UNSET


class VersionBody(Struct):
    version: str


class StatusBody(Struct):
    status: str
