"""Texts that don't begin where a prompt does."""

from __future__ import annotations

from inglenook.text.tokenizer import Tokenizer


def encode_inside(tokenizer: Tokenizer, text: str) -> list[int]:
    """Without special tokens, and without the blank that some vocabularies put in front of every text."""
    lead = tokenizer.encode("\u263a", add_special_tokens=False)
    both = tokenizer.encode("\u263a" + text, add_special_tokens=False)
    adds_blank = lead and (tokenizer.token_name(lead[0]) or "").startswith("\u2581")
    if adds_blank and both[: len(lead)] == lead:
        return both[len(lead) :]
    return tokenizer.encode(text, add_special_tokens=False)
