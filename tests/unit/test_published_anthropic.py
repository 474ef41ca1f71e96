"""Our messages, their events, counts, models and errors beside the types of the anthropic package."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.pagination import SyncPage
from anthropic.types import Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse

from fixtures import anthropic_schemas as strict
from fixtures.documented import answer, choice, event
from fixtures.published_tables import Reasons, check, names

Schema = dict[str, Any]

UNSENT: Reasons = {
    "tools that Anthropic runs are refused": "BashCodeExecutionToolResultBlock CodeExecutionToolResultBlock "
    "ContainerUploadBlock ServerToolUseBlock TextEditorCodeExecutionToolResultBlock ToolSearchToolResultBlock "
    "WebFetchToolResultBlock WebSearchToolResultBlock ToolUseBlock.caller ToolUseBlock.toolset_name "
    "Usage.server_tool_use Message.container",
    "no documents are cited": "TextBlock.citations",
    "no thoughts are kept secret": "RedactedThinkingBlock",
    "nothing is refused but requests": "Message.stop_details",
    "diagnostics of the cache is without effect": "Message.diagnostics",
    "one cache, one place, one speed": "Usage.cache_creation Usage.inference_geo Usage.speed",
}
EVENTS_UNSENT: Reasons = {
    **UNSENT,
    "as whole messages": "CitationsDelta Delta.container Delta.stop_details MessageDeltaUsage.server_tool_use",
}
MODEL_UNSENT = names(
    {
        "those of another company's models": "ModelInfo.capabilities ModelInfo.line",
        "none is shut down": "ModelInfo.deprecated_at ModelInfo.retires_at",
    }
)
WITH_DETAILS = names(
    "APIErrorObject.details AuthenticationErrorObject.details InvalidRequestErrorObject.details "
    "NotFoundErrorObject.details OverloadedErrorObject.details RateLimitErrorObject.details"
)


def both(ours: Schema, documented: Schema) -> Any:
    return pytest.mark.parametrize("ours", [ours, documented], ids=["strict", "documented"])


@both(strict.MESSAGE, answer("/v1/messages"))
def test_message(ours: Schema) -> None:
    check(
        "anthropic",
        ours,
        Message,
        unsent=names(UNSENT),
        nullable={"Message.stop_sequence"},
        not_always={"Usage.output_tokens_details"},
    )


@both({"oneOf": [schema for name, schema in strict.EVENTS.items() if name != "error"]}, event("/v1/messages"))
def test_events(ours: Schema) -> None:
    check(
        "anthropic",
        ours,
        RawMessageStreamEvent,
        name="RawMessageStreamEvent",
        unsent=names(EVENTS_UNSENT),
        nullable=names("Message.stop_reason Message.stop_sequence Delta.stop_sequence"),
        not_always=names("Usage.output_tokens_details MessageDeltaUsage.output_tokens_details"),
    )


@both(strict.COUNTED, answer("/v1/messages/count_tokens"))
def test_count(ours: Schema) -> None:
    check("anthropic", ours, MessageTokensCount)


@both(strict.MODEL, choice(answer("/v1/models/{model_id}", method="get"), 1))
def test_model(ours: Schema) -> None:
    check("anthropic", ours, ModelInfo, unsent=MODEL_UNSENT)


@both(strict.MODELS, choice(answer("/v1/models", method="get"), 1))
def test_models(ours: Schema) -> None:
    page = SyncPage[ModelInfo]
    ids = {f"{page.__name__}.first_id", f"{page.__name__}.last_id"}
    check("anthropic", ours, page, unsent=MODEL_UNSENT, nullable=ids)


@both(strict.ERROR, answer("/v1/messages", status=400))
def test_error(ours: Schema) -> None:
    check(
        "anthropic",
        ours,
        ErrorResponse,
        added=names({"of errors that the package has classes for": " ".join(WITH_DETAILS)}),
        not_always=WITH_DETAILS,
        unsent=names(
            {"nothing of the kind happens": "BillingErrorObject PermissionErrorObject GatewayTimeoutErrorObject"}
        ),
        wrong=names({"request_too_large, which Anthropic's pages have": "InvalidRequestErrorObject.type"}),
    )
