"""The tokens of texts that an answer may not come to hold."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.text.tokenizer import Tokenizer


def banned_tokens(tokenizer: Tokenizer, bad_words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Each text as it is split at the beginning of a text and behind a space, as vLLM has it.

    The text may still come to be in another way: split by other tokens, or as a part of a longer word.
    """
    spellings = (prefix + word.lstrip() for word in bad_words for prefix in ("", " "))
    tokens = (tuple(tokenizer.encode(text, add_special_tokens=False)) for text in spellings)
    return tuple(dict.fromkeys(filter(None, tokens)))
