"""The tokens of texts that an answer may not come to hold, or that are made likelier or less likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inglenook.text.tokenizer import Tokenizer
from inglenook.types import SamplingParams

_LARGEST_BIAS = 100.0


def banned_tokens(tokenizer: Tokenizer, bad_words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Each text as it is split at the beginning of a text and behind a space, as vLLM has it.

    The text may still come to be in another way: split by other tokens, or as a part of a longer word.
    """
    spellings = (prefix + word.lstrip() for word in bad_words for prefix in ("", " "))
    tokens = (tuple(tokenizer.encode(text, add_special_tokens=False)) for text in spellings)
    return tuple(dict.fromkeys(filter(None, tokens)))


def with_text_bias(tokenizer: Tokenizer, sampling: SamplingParams) -> Mapping[int, float]:
    """The biases of tokens, those of all tokens of texts among them: several of one token add up."""
    if not sampling.text_bias:
        return sampling.logit_bias
    biases = dict(sampling.logit_bias)
    for text, bias in sampling.text_bias.items():
        for token_id in tokenizer.encode(text, add_special_tokens=False):
            total = biases.get(token_id, 0.0) + bias
            biases[token_id] = min(max(total, -_LARGEST_BIAS), _LARGEST_BIAS)
    return biases
