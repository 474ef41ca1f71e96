"""The JSON objects of Anthropic's answers, in its key order. UNSET keys are left out; None is written as null."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

# --- shared ---------------------------------------------------------------------------------------


StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]
ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
]


class OutputTokensDetails(Struct):
    thinking_tokens: int


class DeltaUsage(Struct):
    """`input_tokens` are those that no cache supplied, as Anthropic counts them; the sum of the first three is all."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails | UnsetType = UNSET  # where the model has thought


class UsageBody(DeltaUsage):
    service_tier: Literal["standard"] = "standard"


class TextBlock(Struct, tag_field="type", tag="text"):
    text: str


class ThinkingBlock(Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class ToolUseBlock(Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class MessageBody(Struct, tag_field="type", tag="message"):
    id: str
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason
    stop_sequence: str | None
    usage: UsageBody


class BegunMessage(Struct, tag_field="type", tag="message"):
    """Of a stream's first event."""

    id: str
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: None
    stop_sequence: None
    usage: UsageBody


class TokenCount(Struct):
    input_tokens: int


class ModelBody(Struct, tag_field="type", tag="model"):
    id: str
    display_name: str
    created_at: str
    max_input_tokens: int
    max_tokens: int
    lifecycle: Literal["active"]


class ModelList(Struct):
    data: list[ModelBody]
    has_more: Literal[False]
    first_id: str | None
    last_id: str | None


class ErrorCause(Struct):
    error_code: str


class ErrorDetail(Struct):
    type: ErrorType
    message: str
    details: ErrorCause | UnsetType = UNSET


class ErrorBody(Struct, tag_field="type", tag="error"):
    error: ErrorDetail
    request_id: str


# --- streams --------------------------------------------------------------------------------------


class MessageStart(Struct, tag_field="type", tag="message_start"):
    message: BegunMessage


class BlockStart(Struct, tag_field="type", tag="content_block_start"):
    index: int
    content_block: ContentBlock


class TextDelta(Struct, tag_field="type", tag="text_delta"):
    text: str


class ThinkingDelta(Struct, tag_field="type", tag="thinking_delta"):
    thinking: str


class SignatureDelta(Struct, tag_field="type", tag="signature_delta"):
    signature: str


class InputJsonDelta(Struct, tag_field="type", tag="input_json_delta"):
    partial_json: str


BlockPiece = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class BlockDelta(Struct, tag_field="type", tag="content_block_delta"):
    index: int
    delta: BlockPiece


class BlockStop(Struct, tag_field="type", tag="content_block_stop"):
    index: int


class StopDelta(Struct):
    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(Struct, tag_field="type", tag="message_delta"):
    delta: StopDelta
    usage: DeltaUsage


class MessageStop(Struct, tag_field="type", tag="message_stop"):
    pass


EVENTS = (MessageStart, BlockStart, BlockDelta, BlockStop, MessageDelta, MessageStop)
