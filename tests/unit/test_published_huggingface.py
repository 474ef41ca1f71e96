"""Our answers beside the types of huggingface_hub, which are made from Text Generation Inference's specification."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import (
    ChatCompletionOutput,
    ChatCompletionStreamOutput,
    TextClassificationOutputElement,
    TextGenerationOutput,
    TextGenerationStreamOutput,
)

from fixtures import huggingface_schemas as strict
from fixtures import openai_shapes, pooling_shapes
from fixtures.documented import answer, choice, event, items
from fixtures.published import compare, schema_of
from fixtures.published_tables import check, names

Schema = dict[str, Any]


def both(ours: Schema, documented: Schema) -> Any:
    return pytest.mark.parametrize("ours", [ours, documented], ids=["strict", "documented"])


@both(strict.GENERATED, answer("/generate"))
def test_generate(ours: Schema) -> None:
    first = names(
        {"of a prompt's first token, as the specification has it": "TextGenerationOutputPrefillToken.logprob"}
    )
    check(
        "huggingface_hub",
        ours,
        TextGenerationOutput,
        wrong=first,
        nullable=first | names("TextGenerationOutputDetails.seed TextGenerationOutputBestOfSequence.seed"),
        not_always=names(
            "TextGenerationOutput.details TextGenerationOutputDetails.best_of_sequences "
            "TextGenerationOutputDetails.top_tokens TextGenerationOutputBestOfSequence.top_tokens"
        ),
    )


@both(strict.STREAM_EVENT, event("/generate_stream"))
def test_generate_stream(ours: Schema) -> None:
    check(
        "huggingface_hub",
        ours,
        TextGenerationStreamOutput,
        nullable=names(
            "TextGenerationStreamOutput.details TextGenerationStreamOutput.generated_text "
            "TextGenerationStreamOutputStreamDetails.seed"
        ),
        not_always={"TextGenerationStreamOutput.top_tokens"},
    )


@both(pooling_shapes.PREDICTION["items"], items(choice(answer("/v1/predict"), 0)))
def test_predict(ours: Schema) -> None:
    check("huggingface_hub", ours, TextClassificationOutputElement)


# --- chats: what is OpenAI's in our answers and not in these types is test_published_openai.py's -----


@both(openai_shapes.CHAT_COMPLETION, answer("/v1/chat/completions"))
def test_chat(ours: Schema) -> None:
    found = compare(ours, schema_of(ChatCompletionOutput))
    assert found.wrong == set()
    assert found.nullable == names("ChatCompletionOutputComplete.logprobs ChatCompletionOutputMessage.content")
    assert found.unsent == names(
        {
            "arguments only": "ChatCompletionOutputFunctionDefinition.description",
            "of a tool's own messages": "ChatCompletionOutputMessage.tool_call_id",
        }
    )


@both(openai_shapes.CHAT_CHUNK, event("/v1/chat/completions"))
def test_chunks_of_chat(ours: Schema) -> None:
    found = compare(ours, schema_of(ChatCompletionStreamOutput))
    # OpenAI says these once, where Text Generation Inference repeats them; InferenceClient puts None in their place.
    assert {text.split(":")[0] for text in found.wrong} == names(
        "ChatCompletionStreamOutputDelta.role ChatCompletionStreamOutputDeltaToolCall.id "
        "ChatCompletionStreamOutputDeltaToolCall.type ChatCompletionStreamOutputDeltaToolCall.function "
        "ChatCompletionStreamOutputFunction.arguments"
    )
    assert found.unsent == {"ChatCompletionStreamOutputDelta.tool_call_id"}
