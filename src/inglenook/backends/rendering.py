"""Prompts to look at: what a request's prompt is, as text and as tokens."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.text.tokenizer import Tokenizer
from inglenook.types import ChatRequest, CompletionRequest, PromptToken, RenderedPrompt


def num_characters(request: ChatRequest | CompletionRequest) -> int:
    """About how much there is to tokenise."""
    if isinstance(request, CompletionRequest):
        return sum(len(prompt) for prompt in request.prompts)
    texts = sum(len(message.content or "") for message in request.messages)
    others = [*(message.extra for message in request.messages if message.extra), *request.documents]
    return texts + sum(len(repr(value)) for value in (*others, *(tool.definition for tool in request.tool_use.tools)))


def rendered_text(
    tokenizer: Tokenizer,
    text: str,
    *,
    add_special_tokens: bool,
    warnings: tuple[str, ...] = (),
    with_tokens: bool = False,
) -> RenderedPrompt:
    """The same token ids as where a text is generated from; `with_tokens` costs more."""
    if not with_tokens:
        token_ids = tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return RenderedPrompt(text, tuple(token_ids), warnings)
    spans = tokenizer.encode_with_offsets(text, add_special_tokens=add_special_tokens)
    tokens = tuple(_token(tokenizer, *span) for span in spans)
    return RenderedPrompt(text, tuple(token.token_id for token in tokens), warnings, tokens)


def rendered_ids(tokenizer: Tokenizer, token_ids: Sequence[int]) -> RenderedPrompt:
    return RenderedPrompt(tokenizer.decode(token_ids, skip_special_tokens=False), tuple(token_ids))


def rendered_prompts(
    tokenizer: Tokenizer, request: CompletionRequest, *, with_tokens: bool = False
) -> list[RenderedPrompt]:
    """Each prompt as it is."""
    adds = request.add_special_tokens
    return [
        rendered_text(tokenizer, prompt, add_special_tokens=adds, with_tokens=with_tokens)
        if isinstance(prompt, str)
        else rendered_ids(tokenizer, prompt)
        for prompt in request.prompts
    ]


def _token(tokenizer: Tokenizer, token_id: int, start: int, end: int) -> PromptToken:
    return PromptToken(token_id, tokenizer.token_name(token_id) or "", tokenizer.token_bytes(token_id), start, end)
