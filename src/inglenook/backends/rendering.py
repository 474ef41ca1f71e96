"""Prompts to look at: what a request's prompt is, as text and as tokens."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.text.inside import encode_inside
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import ChatRequest, CompletionRequest, Prompt, PromptToken, RenderedPrompt


def num_characters(request: ChatRequest | CompletionRequest) -> int:
    """About how much there is to tokenise."""
    if isinstance(request, CompletionRequest):
        around = [request.suffix or "", *(file.text for file in request.files)]
        return sum(_length(prompt) for prompt in request.prompts) + sum(map(len, around))
    texts = sum(len(message.content or "") for message in request.messages)
    others = [*(message.extra for message in request.messages if message.extra), *request.documents]
    return texts + sum(len(repr(value)) for value in (*others, *(tool.definition for tool in request.tool_use.tools)))


def _length(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(part) if isinstance(part, str) else 1 for part in prompt)


def prompt_ids(tokenizer: Tokenizer, prompt: Prompt, *, add_special_tokens: bool) -> list[int]:
    """Special tokens are added where a text begins the prompt."""
    if isinstance(prompt, str):
        return tokenizer.encode(prompt, add_special_tokens=add_special_tokens)
    token_ids: list[int] = []
    for position, part in enumerate(prompt):
        if isinstance(part, int):
            token_ids.append(part)
        elif position == 0:
            token_ids += tokenizer.encode(part, add_special_tokens=add_special_tokens)
        else:
            token_ids += encode_inside(tokenizer, part)
    return token_ids


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
        else rendered_ids(tokenizer, prompt_ids(tokenizer, prompt, add_special_tokens=adds))
        for prompt in request.prompts
    ]


def _token(tokenizer: Tokenizer, token_id: int, start: int, end: int) -> PromptToken:
    return PromptToken(token_id, tokenizer.token_name(token_id) or "", tokenizer.token_bytes(token_id), start, end)
