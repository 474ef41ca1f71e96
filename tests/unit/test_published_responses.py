"""Our Responses, their events and lists of items beside the types of the openai package."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import InputTokenCountResponse, Response, ResponseItemList, ResponseStreamEvent

from fixtures import response_schemas as strict
from fixtures.documented import answer, event
from fixtures.published_tables import Reasons, check, names

Schema = dict[str, Any]

ADDED = names(
    {
        "docs/responses.md": "Response.store Response.warnings",
        "as lists of items have it, and OpenAI's own answers": "ResponseCustomToolCall.status",
    }
)
EVENTS_ADDED = names(
    {
        "of the specification, not yet of the package": "ResponseFunctionCallArgumentsDoneEvent.name",
        "as the parts have it that they make": "response_text_delta_event.Logprob.bytes "
        "response_text_delta_event.LogprobTopLogprob.bytes response_text_done_event.Logprob.bytes "
        "response_text_done_event.LogprobTopLogprob.bytes",
    }
)
NOT_ALWAYS = names(
    "CustomTool.description FunctionTool.description ResponseFormatTextJSONSchemaConfig.description "
    "Response.usage Response.user Response.warnings ResponseReasoningItem.encrypted_content"
)
NULLABLE = names(
    "FunctionTool.parameters FunctionTool.strict ResponseFormatTextJSONSchemaConfig.strict "
    "Response.completed_at Response.error Response.incomplete_details Response.instructions Response.max_output_tokens "
    "Response.max_tool_calls Response.previous_response_id Response.prompt_cache_key Response.safety_identifier "
    "Response.temperature Response.top_p reasoning.Reasoning.effort reasoning.Reasoning.summary"
)
# Items of what only OpenAI's servers run, in answers and in lists.
_HOSTED = (
    "ImageGenerationCall LocalShellCall LocalShellCallOutput McpApprovalRequest McpCall McpListTools Program "
    "ProgramOutput ResponseApplyPatchToolCall ResponseApplyPatchToolCallOutput ResponseCodeInterpreterToolCall "
    "ResponseComputerToolCall ResponseComputerToolCallOutputItem ResponseFileSearchToolCall "
    "ResponseFunctionShellToolCall ResponseFunctionShellToolCallOutput ResponseFunctionWebSearch "
    "ResponseToolSearchCall ResponseToolSearchOutputItem"
)
UNSENT: Reasons = {
    "tools that OpenAI runs are refused": f"{_HOSTED} response_output_item.AdditionalTools "
    "response_output_item.McpApprovalResponse",
    "so nobody can have defined them": "ApplyPatchTool CodeInterpreter ComputerTool ComputerUsePreviewTool "
    "FileSearchTool FunctionShellTool ImageGeneration LocalShell Mcp NamespaceTool ProgrammaticToolCalling "
    "ToolSearchTool WebSearchPreviewTool WebSearchTool",
    "nor chosen them": "ToolChoiceApplyPatch ToolChoiceMcp ToolChoiceShell ToolChoiceTypes "
    "ToolChoiceSpecificProgrammaticToolCallingParam",
    "nor called functions from them": "FunctionTool.allowed_callers CustomTool.allowed_callers "
    "ResponseFunctionToolCall.caller ResponseCustomToolCall.caller",
    "calls don't wait for a later turn": "FunctionTool.async CustomTool.async ResponseFunctionToolCall.async "
    "ResponseCustomToolCall.async",
    "tools are told to the model at once, by their own names": "FunctionTool.defer_loading CustomTool.defer_loading "
    "ResponseFunctionToolCall.namespace ResponseCustomToolCall.namespace",
    "nobody asks for it": "FunctionTool.output_schema",
    "of inputs, which answers don't repeat": "ResponseFunctionToolCallOutputItem ResponseCustomToolCallOutputItem",
    "`conversation`, `prompt`, `moderation` are refused": "Response.conversation Response.prompt Response.moderation",
    "no compaction: truncation": "ResponseCompactionItem",
    "without effect here": "Response.access_programs Response.image Response.prompt_cache_options "
    "Response.prompt_cache_retention Response.prompt_cache_diagnostics",
    "inputs are taken as they are": "Response.input_transformations",
    "no tools are run": "Response.tool_usage",
    "a refusal is a text like others": "ResponseOutputRefusal",
    "no model here tells phases apart": "ResponseOutputMessage.phase",
    "OpenAI's own checks": "ResponseError.misalignment ResponseError.param ResponseError.type",
    "thinking has effort, and no other setting": "reasoning.Reasoning.context reasoning.Reasoning.generate_summary "
    "reasoning.Reasoning.mode",
    "to fill the cache costs nothing here": "InputTokensDetails.cache_write_tokens_details",
}
EVENTS_UNSENT: Reasons = {
    **UNSENT,
    "models here don't speak": "ResponseAudioDeltaEvent ResponseAudioDoneEvent ResponseAudioTranscriptDeltaEvent "
    "ResponseAudioTranscriptDoneEvent",
    "of tools that OpenAI runs": "ResponseCodeInterpreterCallCodeDeltaEvent ResponseCodeInterpreterCallCodeDoneEvent "
    "ResponseCodeInterpreterCallCompletedEvent ResponseCodeInterpreterCallInProgressEvent "
    "ResponseCodeInterpreterCallInterpretingEvent ResponseFileSearchCallCompletedEvent "
    "ResponseFileSearchCallInProgressEvent ResponseFileSearchCallSearchingEvent ResponseImageGenCallCompletedEvent "
    "ResponseImageGenCallGeneratingEvent ResponseImageGenCallInProgressEvent ResponseImageGenCallPartialImageEvent "
    "ResponseMcpCallArgumentsDeltaEvent ResponseMcpCallArgumentsDoneEvent ResponseMcpCallCompletedEvent "
    "ResponseMcpCallFailedEvent ResponseMcpCallInProgressEvent ResponseMcpListToolsCompletedEvent "
    "ResponseMcpListToolsFailedEvent ResponseMcpListToolsInProgressEvent ResponseShellCallCommandAddedEvent "
    "ResponseShellCallCommandDeltaEvent ResponseShellCallCommandDoneEvent ResponseShellCallOutputContentDeltaEvent "
    "ResponseShellCallOutputContentDoneEvent ResponseWebSearchCallCompletedEvent "
    "ResponseWebSearchCallInProgressEvent ResponseWebSearchCallSearchingEvent ResponseOutputTextAnnotationAddedEvent",
    "no compaction: truncation ": "ResponseCompactionCompactingEvent",
    "background responses can't be streamed": "ResponseQueuedEvent",
    "no summaries are written": "ResponseReasoningSummaryPartAddedEvent ResponseReasoningSummaryPartDoneEvent "
    "ResponseReasoningSummaryTextDeltaEvent ResponseReasoningSummaryTextDoneEvent",
    "a refusal is a text like others ": "ResponseRefusalDeltaEvent ResponseRefusalDoneEvent",
}
ITEMS_UNSENT: Reasons = {
    "hosted tools": f"{_HOSTED} AdditionalTools McpApprovalResponse",
    "not taken": "ResponseCompactionItem ResponseConfigurationUpdateItem",
    "text only": "ResponseInputFile ResponseInputImage ResponseOutputRefusal",
    "to mark the cache": "ResponseInputText.prompt_cache_breakpoint",
    "calls don't wait for a later turn": "ResponseCustomToolCallItem.async ResponseFunctionToolCallItem.async",
    "from whom it came, there or here": "ResponseCustomToolCallItem.caller ResponseCustomToolCallItem.created_by "
    "ResponseCustomToolCallItem.namespace ResponseCustomToolCallOutputItem.caller "
    "ResponseCustomToolCallOutputItem.created_by ResponseFunctionToolCallItem.caller "
    "ResponseFunctionToolCallItem.created_by ResponseFunctionToolCallItem.namespace "
    "ResponseFunctionToolCallOutputItem.caller ResponseFunctionToolCallOutputItem.created_by "
    "ResponseFunctionToolCallOutputItem.name ResponseFunctionToolCallOutputItem.namespace",
}


def both(ours: Schema, documented: Schema) -> Any:
    return pytest.mark.parametrize("ours", [ours, documented], ids=["strict", "documented"])


@both(strict.RESPONSE, answer("/v1/responses"))
def test_response(ours: Schema) -> None:
    check("openai", ours, Response, added=ADDED, unsent=names(UNSENT), nullable=NULLABLE, not_always=NOT_ALWAYS)


@both(strict.EVENT, event("/v1/responses"))
def test_events(ours: Schema) -> None:
    check(
        "openai",
        ours,
        ResponseStreamEvent,
        name="ResponseStreamEvent",
        added=ADDED | EVENTS_ADDED,
        unsent=names(EVENTS_UNSENT),
        nullable=NULLABLE | names("ResponseErrorEvent.code ResponseErrorEvent.param"),
        not_always=NOT_ALWAYS,
    )


def test_items() -> None:
    """Of a list. The document says of them that they are objects."""
    not_always = names("ResponseOutputMessage.phase ResponseReasoningItem.encrypted_content")
    check("openai", strict.ITEM_LIST, ResponseItemList, unsent=names(ITEMS_UNSENT), not_always=not_always)


@both(strict.COUNTED, answer("/v1/responses/input_tokens"))
def test_counted_tokens(ours: Schema) -> None:
    check("openai", ours, InputTokenCountResponse)
