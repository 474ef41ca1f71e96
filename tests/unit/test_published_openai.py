"""Our answers beside the types of the openai package, which are made from OpenAI's specification.

Twice: the strict schemas that every answer of the tests is checked with, and what the server's own document says.
"""

from __future__ import annotations

from typing import Any

import pytest
from openai.pagination import SyncPage
from openai.types import Completion, CreateEmbeddingResponse, ErrorObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from fixtures import openai_shapes as strict
from fixtures.documented import answer, choice, event
from fixtures.published_tables import Reasons, check, names

Schema = dict[str, Any]

USAGE_UNSENT: Reasons = {
    "text only": "CompletionTokensDetails.text_tokens CompletionTokensDetails.audio_tokens "
    "PromptTokensDetails.text_tokens PromptTokensDetails.image_tokens PromptTokensDetails.audio_tokens",
    "`prediction` is refused": "CompletionTokensDetails.accepted_prediction_tokens "
    "CompletionTokensDetails.rejected_prediction_tokens",
    "to fill the cache costs nothing here": "PromptTokensDetails.cache_write_tokens",
}
USAGE_NOT_ALWAYS = names("CompletionUsage.prompt_tokens_details CompletionUsage.completion_tokens_details")

# `nullable` is what the specification has as null, which the package can't tell from left out.
CHAT: dict[str, Any] = {
    # docs/api.md, Answers
    "added": names(
        "ChatCompletion.warnings ChatCompletion.timings ChatCompletion.prompt_token_ids ChatCompletion.prompt_text "
        "ChatCompletion.prompt_logprobs Choice.stop_reason Choice.token_ids "
        "ChatCompletionMessage.reasoning ChatCompletionMessage.reasoning_content"
    ),
    "unsent": names(
        USAGE_UNSENT,
        {
            "nobody moderates": "ChatCompletion.moderation",
            "of stored answers, and none are stored": "ChatCompletion.metadata",
            "no web search": "ChatCompletionMessage.annotations",
            "no model here speaks": "ChatCompletionMessage.audio",
            "custom tools are refused on this route": "ChatCompletionMessageCustomToolCall",
        },
    ),
    "nullable": names(
        "ChatCompletionMessage.content ChatCompletionMessage.refusal Choice.logprobs ChoiceLogprobs.refusal"
    ),
    # The specification requires all the others; the package lets some of them be left out, such as `refusal`.
    "not_always": names(
        "ChatCompletion.warnings ChatCompletion.timings ChatCompletion.prompt_token_ids ChatCompletion.prompt_text "
        "ChatCompletion.prompt_logprobs ChatCompletion.service_tier Choice.token_ids "
        "ChatCompletionMessage.reasoning ChatCompletionMessage.reasoning_content "
        "ChatCompletionMessage.tool_calls ChatCompletionMessage.function_call"
    )
    | USAGE_NOT_ALWAYS,
}
CHUNK: dict[str, Any] = {
    "added": names(
        "ChatCompletionChunk.warnings ChatCompletionChunk.timings ChatCompletionChunk.prompt_token_ids "
        "ChatCompletionChunk.prompt_text Choice.stop_reason Choice.token_ids "
        "ChoiceDelta.reasoning ChoiceDelta.reasoning_content"
    ),
    "unsent": names(
        USAGE_UNSENT,
        {
            "nobody moderates": "ChatCompletionChunk.moderation",
            "padding against listeners; `include_obfuscation` asks for it": "ChatCompletionChunk.obfuscation",
            "no model here speaks": "ChoiceDelta.audio",
            "a refusal is a text like others": "ChoiceDelta.refusal",
        },
    ),
    "nullable": names("ChatCompletionChunk.usage Choice.finish_reason Choice.logprobs ChoiceLogprobs.refusal"),
    "not_always": names(
        "ChatCompletionChunk.warnings ChatCompletionChunk.timings ChatCompletionChunk.prompt_token_ids "
        "ChatCompletionChunk.prompt_text ChatCompletionChunk.service_tier ChatCompletionChunk.usage "
        "Choice.stop_reason Choice.token_ids ChoiceDelta.reasoning ChoiceDelta.reasoning_content ChoiceDelta.role "
        "ChoiceDelta.content ChoiceDelta.tool_calls ChoiceDelta.function_call "
        "ChoiceDeltaToolCall.id ChoiceDeltaToolCall.type ChoiceDeltaToolCall.function "
        "ChoiceDeltaToolCallFunction.name ChoiceDeltaToolCallFunction.arguments "
        "ChoiceDeltaFunctionCall.name ChoiceDeltaFunctionCall.arguments"
    )
    | USAGE_NOT_ALWAYS,
}
COMPLETION: dict[str, Any] = {
    "added": names(
        "Completion.warnings Completion.timings Completion.service_tier CompletionChoice.stop_reason "
        "CompletionChoice.token_ids CompletionChoice.prompt_token_ids CompletionChoice.prompt_text "
        "CompletionChoice.prompt_logprobs"
    ),
    "unsent": names(USAGE_UNSENT),
    "nullable": names("CompletionChoice.logprobs Logprobs.token_logprobs[] Logprobs.top_logprobs[]"),
    "not_always": names(
        "Completion.warnings Completion.timings Completion.service_tier CompletionChoice.token_ids "
        "CompletionChoice.prompt_token_ids CompletionChoice.prompt_text CompletionChoice.prompt_logprobs"
    )
    | USAGE_NOT_ALWAYS,
    # OpenAI's own answers are so, too.
    "wrong": names({"of an echoed prompt's first token": "Logprobs.token_logprobs[] Logprobs.top_logprobs[]"}),
}
COMPLETION_CHUNK: dict[str, Any] = {
    **COMPLETION,
    "added": COMPLETION["added"] - {"CompletionChoice.prompt_logprobs"},
    # Of usage the specification says it where it describes stream_options.
    "nullable": COMPLETION["nullable"] | names("CompletionChoice.finish_reason Completion.usage"),
    "not_always": COMPLETION["not_always"] - {"CompletionChoice.prompt_logprobs"}
    | names("CompletionChoice.stop_reason Completion.usage"),
    "wrong": COMPLETION["wrong"] | names({"until its last chunk": "CompletionChoice.finish_reason"}),
}
MODEL: dict[str, Any] = {
    "added": names("Model.root Model.max_model_len Model.task"),
    "unsent": names({"none is shut down": "Model.shutdown_date"}),
}


class Refusal(BaseModel):
    """The package has a type for what is inside only."""

    error: ErrorObject


def both(ours: Schema, documented: Schema) -> Any:
    return pytest.mark.parametrize("ours", [ours, documented], ids=["strict", "documented"])


@both(strict.CHAT_COMPLETION, answer("/v1/chat/completions"))
def test_chat(ours: Schema) -> None:
    check("openai", ours, ChatCompletion, **CHAT)


@both(strict.CHAT_CHUNK, event("/v1/chat/completions"))
def test_chunks_of_chat(ours: Schema) -> None:
    check("openai", ours, ChatCompletionChunk, **CHUNK)


@both(strict.COMPLETION, answer("/v1/completions"))
def test_completion(ours: Schema) -> None:
    check("openai", ours, Completion, **COMPLETION)


@both(strict.COMPLETION_CHUNK, event("/v1/completions"))
def test_chunks_of_completions(ours: Schema) -> None:
    check("openai", ours, Completion, **COMPLETION_CHUNK)


@both(strict.EMBEDDINGS, choice(answer("/v1/embeddings"), 0))
def test_embeddings(ours: Schema) -> None:
    as_base64 = names({"the package decodes it before anyone sees it": "Embedding.embedding"})
    warnings = {"CreateEmbeddingResponse.warnings"}
    check("openai", ours, CreateEmbeddingResponse, added=warnings, not_always=warnings, wrong=as_base64)


@both(strict.MODEL, choice(answer("/v1/models/{model_id}", method="get"), 0))
def test_model(ours: Schema) -> None:
    check("openai", ours, Model, **MODEL)


@both(strict.ERROR, answer("/v1/chat/completions", status=400))
def test_error(ours: Schema) -> None:
    check(
        "openai",
        ours,
        Refusal,
        unsent=names({"OpenAI's own checks": "ErrorObject.misalignment"}),
        nullable=names("ErrorObject.code ErrorObject.param"),
    )


@both(strict.MODELS, choice(answer("/v1/models", method="get"), 0))
def test_models(ours: Schema) -> None:
    check("openai", ours, SyncPage[Model], **MODEL)
