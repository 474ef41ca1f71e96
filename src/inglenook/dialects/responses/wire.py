"""The JSON objects of OpenAI's Responses: the answer, its items, what they are made of (events: responses_events.py).

Keys are in OpenAI's order. UNSET keys are left out; None is written as null, which its specification allows there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from inglenook.dialects.openai.wire import ChatTokenLogprob

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Truncation = Literal["auto", "disabled"]
Status = Literal["completed", "failed", "in_progress", "cancelled", "incomplete"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]

# --- parts ----------------------------------------------------------------------------------------


class OutputText(Struct, tag_field="type", tag="output_text"):
    text: str
    logprobs: list[ChatTokenLogprob]
    annotations: Annotated[list[Any], Meta(max_length=0)] = []


class ReasoningText(Struct, tag_field="type", tag="reasoning_text"):
    text: str


class SummaryText(Struct, tag_field="type", tag="summary_text"):
    text: str


# --- items ----------------------------------------------------------------------------------------


class OutputMessage(Struct, tag_field="type", tag="message"):
    id: str
    status: ItemStatus
    content: list[OutputText]
    role: Literal["assistant"] = "assistant"


class ReasoningItem(Struct, tag_field="type", tag="reasoning"):
    id: str
    status: ItemStatus
    content: list[ReasoningText]
    summary: list[SummaryText] = []
    encrypted_content: str | UnsetType = UNSET


class FunctionCall(Struct, tag_field="type", tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class CustomToolCall(Struct, tag_field="type", tag="custom_tool_call"):
    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus


OutputItem = OutputMessage | ReasoningItem | FunctionCall | CustomToolCall

# --- what an answer repeats of its request ----------------------------------------------------------


class FunctionTool(Struct, kw_only=True, tag_field="type", tag="function"):
    name: str
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | None
    strict: bool | None


class TextInput(Struct, tag_field="type", tag="text"):
    pass


class GrammarInput(Struct, tag_field="type", tag="grammar"):
    definition: str
    syntax: Literal["regex"] = "regex"


class CustomTool(Struct, kw_only=True, tag_field="type", tag="custom"):
    name: str
    description: str | UnsetType = UNSET
    format: TextInput | GrammarInput


class FunctionChoice(Struct, tag_field="type", tag="function"):
    name: str


class CustomChoice(Struct, tag_field="type", tag="custom"):
    name: str


class AllowedChoice(Struct, tag_field="type", tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


ToolMode = Literal["none", "auto", "required"]
ToolChoice = ToolMode | FunctionChoice | CustomChoice | AllowedChoice


class PlainFormat(Struct, tag_field="type", tag="text"):
    pass


class JsonFormat(Struct, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Struct, kw_only=True, tag_field="type", tag="json_schema"):
    name: str
    description: str | UnsetType = UNSET
    schema: dict[str, Any]
    strict: bool | None


class TextConfig(Struct):
    format: PlainFormat | JsonFormat | SchemaFormat
    verbosity: Literal["medium"] = "medium"


class Reasoning(Struct):
    effort: Effort | None
    summary: None = None


# --- the answer -----------------------------------------------------------------------------------


class ResponseError(Struct):
    code: ErrorCode
    message: str


class IncompleteDetails(Struct):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class InputTokensDetails(Struct):
    """Reading and writing the prefix cache; writing costs nothing extra here, so none is counted."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(Struct):
    reasoning_tokens: int


class ResponseUsage(Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class Response(Struct, kw_only=True):
    """Made by the parser, with what an answer repeats of its request; the rest comes while it is answered."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    background: bool
    completed_at: int | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: Reasoning
    safety_identifier: str | None
    service_tier: Literal["default"] = "default"
    store: bool
    temperature: float | None
    text: TextConfig
    tool_choice: ToolChoice
    tools: list[FunctionTool | CustomTool]
    top_logprobs: int
    top_p: float | None
    truncation: Truncation
    usage: ResponseUsage | UnsetType = UNSET
    user: str | UnsetType = UNSET
    metadata: dict[str, str]
    warnings: list[str] | UnsetType = UNSET


# --- other bodies ---------------------------------------------------------------------------------


class DeletedResponse(Struct):
    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class InputTokens(Struct):
    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


class ItemList(Struct):
    data: list[dict[str, Any]]
    first_id: str
    last_id: str
    has_more: bool
    object: Literal["list"] = "list"
