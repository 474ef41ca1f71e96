"""The nouns that cross layers: messages, requests, sampling parameters, deltas, usage, vectors."""

from __future__ import annotations

from inglenook.types.answers import (
    AnsweredPrompt,
    Delta,
    FinishReason,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
    joined_calls,
)
from inglenook.types.cards import DOES, ModelCard, ModelDetails, PromptToken, RenderedPrompt, Task
from inglenook.types.messages import Constraint, Message, ReasoningOptions, Tool, ToolUse
from inglenook.types.pooling import (
    Classes,
    ClassFunction,
    ClassifyRequest,
    Embeddings,
    EmbedRequest,
    InputType,
    PoolingRequest,
    ScoreRequest,
    Scores,
    TextPair,
    TruncationSide,
)
from inglenook.types.requests import MAX_CHOICES, ChatRequest, CompletionRequest, GenerateRequest
from inglenook.types.sampling import (
    MAX_LOGPROBS,
    MAX_PATTERN_SIZE,
    MAX_STOP_STRINGS,
    MODEL_DEFAULTED,
    RepetitionDetection,
    SamplingParams,
)

__all__ = [
    "DOES",
    "MAX_CHOICES",
    "MAX_LOGPROBS",
    "MAX_PATTERN_SIZE",
    "MAX_STOP_STRINGS",
    "MODEL_DEFAULTED",
    "AnsweredPrompt",
    "ChatRequest",
    "ClassFunction",
    "Classes",
    "ClassifyRequest",
    "CompletionRequest",
    "Constraint",
    "Delta",
    "EmbedRequest",
    "Embeddings",
    "FinishReason",
    "GenerateRequest",
    "InputType",
    "Message",
    "ModelCard",
    "ModelDetails",
    "PoolingRequest",
    "PromptToken",
    "ReasoningOptions",
    "RenderedPrompt",
    "RepetitionDetection",
    "SamplingParams",
    "ScoreRequest",
    "Scores",
    "Task",
    "TextPair",
    "Timings",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolUse",
    "TruncationSide",
    "Usage",
    "joined_calls",
]
