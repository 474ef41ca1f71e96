"""Our answers under /api beside the types of the ollama package, where all but a few fields may be left out.

Lines of a stream are as the whole answer, whose counts come with the last one.
"""

from __future__ import annotations

from typing import Any

import pytest
from ollama import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    ProcessResponse,
    ProgressResponse,
    ShowResponse,
)

from fixtures import ollama_schemas as strict
from fixtures.documented import answer
from fixtures.published_tables import check, names

Schema = dict[str, Any]

LOGPROBS_ADDED = names({"of the server's answers, not read by the package": "Logprob.bytes TokenLogprob.bytes"})
CALLS_ADDED = names({"of the server's answers, not read by the package": "ToolCall.id Function.index"})
LAST_ONLY = "done_reason total_duration load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration"


def of_last(owner: str) -> set[str]:
    """What the document, which has one shape for all of them, doesn't promise."""
    return {f"{owner}.{name}" for name in LAST_ONLY.split()}


def both(ours: Schema, documented: Schema) -> Any:
    return pytest.mark.parametrize("ours", [ours, documented], ids=["strict", "documented"])


def one_of(*schemas: Schema) -> Schema:
    return {"oneOf": list(schemas)}


@pytest.mark.parametrize(
    ("ours", "of_some"),
    [
        (one_of(strict.CHAT_LINE, strict.CHAT_END, strict.CHAT_LOADED), set()),
        (answer("/api/chat"), of_last("ChatResponse")),
    ],
    ids=["strict", "documented"],
)
def test_chat(ours: Schema, of_some: set[str]) -> None:
    check(
        "ollama",
        ours,
        ChatResponse,
        added=LOGPROBS_ADDED | CALLS_ADDED,
        unsent=names({"text only": "Message.images", "of a tool's own messages": "Message.tool_name"}),
        not_always=of_some | names("ChatResponse.logprobs Logprob.top_logprobs Message.thinking Message.tool_calls"),
    )


@pytest.mark.parametrize(
    ("ours", "of_some"),
    [
        (one_of(strict.GENERATE_LINE, strict.GENERATE_END, strict.GENERATE_LOADED), set()),
        (answer("/api/generate"), of_last("GenerateResponse") | {"GenerateResponse.context"}),
    ],
    ids=["strict", "documented"],
)
def test_generate(ours: Schema, of_some: set[str]) -> None:
    check(
        "ollama",
        ours,
        GenerateResponse,
        added=LOGPROBS_ADDED,
        unsent=names(
            {"of models that draw": "GenerateResponse.image GenerateResponse.completed GenerateResponse.total"}
        ),
        not_always=of_some | names("GenerateResponse.logprobs GenerateResponse.thinking Logprob.top_logprobs"),
    )


@both(strict.EMBED, answer("/api/embed"))
def test_embed(ours: Schema) -> None:
    of_answers = "created_at done done_reason eval_count eval_duration prompt_eval_duration"
    check("ollama", ours, EmbedResponse, unsent={f"EmbedResponse.{name}" for name in of_answers.split()})


@both(strict.EMBEDDINGS, answer("/api/embeddings"))
def test_embeddings(ours: Schema) -> None:
    check("ollama", ours, EmbeddingsResponse)


@both(strict.TAGS, answer("/api/tags", method="get"))
def test_tags(ours: Schema) -> None:
    of_the_server = names({"of the server's answers, not read by the package": "Model.name Model.capabilities"})
    check("ollama", ours, ListResponse, added=of_the_server)


@both(strict.PROCESSES, answer("/api/ps", method="get"))
def test_processes(ours: Schema) -> None:
    check("ollama", ours, ProcessResponse)


@both(strict.SHOW, answer("/api/show"))
def test_show(ours: Schema) -> None:
    check("ollama", ours, ShowResponse, not_always={"ShowResponse.license"})


def test_pull() -> None:
    of_downloads = names("ProgressResponse.digest ProgressResponse.total ProgressResponse.completed")
    check("ollama", answer("/api/pull"), ProgressResponse, unsent=of_downloads)
