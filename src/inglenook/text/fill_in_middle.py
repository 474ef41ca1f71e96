"""Prompts from which a model writes what stands between two texts, where its vocabulary has the tokens for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inglenook.text.tokenizer import Tokenizer

_FULLWIDTH = "<\uff5cfim\u2581{}\uff5c>"  # DeepSeek's bar and blank


@dataclass(frozen=True)
class _Format:
    """Names of the tokens before the text in front, before the one behind, and before the middle where there is one."""

    prefix: str
    suffix: str
    middle: str | None
    is_suffix_first: bool = False


_FORMATS = (
    _Format("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen 2.5 Coder, CodeGemma
    _Format("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite Code
    _Format("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    _Format(_FULLWIDTH.format("begin"), _FULLWIDTH.format("hole"), _FULLWIDTH.format("end")),  # DeepSeek Coder
    _Format("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),  # Code Llama
    _Format("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM-4, CodeGeeX 4
    _Format("[PREFIX]", "[SUFFIX]", None, is_suffix_first=True),  # Codestral
)
# Behind the middle some models go on to pad, or to another file.
_ENDS = (
    *("<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<fim_pad>", "<fim-pad>", "<file_sep>", "<|file_separator|>"),
    *("\u2581<EOT>", "<EOT>"),
)


class MiddleFormat:
    """Of one vocabulary. `end_ids` end an answer, beside the model's own."""

    def __init__(self, tokenizer: Tokenizer, known: _Format) -> None:
        self._tokenizer = tokenizer
        self._format = known
        names = (known.prefix, known.suffix, known.middle, *_ENDS)
        ids = {name: tokenizer.token_id(name) for name in names if name is not None}
        self._ids = {name: token_id for name, token_id in ids.items() if token_id is not None}
        self.end_ids = frozenset(self._ids.values())

    def prompt(self, prefix: str | Sequence[int], suffix: str, *, add_special_tokens: bool) -> list[int]:
        known = self._format
        before = self._tokenizer.encode(prefix, add_special_tokens=False) if isinstance(prefix, str) else prefix
        parts = [
            [self._ids[known.prefix], *before],
            [self._ids[known.suffix], *self._encode_inside(suffix)],
        ]
        if known.is_suffix_first:
            parts.reverse()
        if known.middle is not None:
            parts.append([self._ids[known.middle]])
        bos = self._tokenizer.bos_token_id
        begins = add_special_tokens and bos is not None and bos in self._tokenizer.encode("")[:1]
        return [*([bos] if begins and bos is not None else []), *(token_id for part in parts for token_id in part)]

    def _encode_inside(self, text: str) -> list[int]:
        """Without the blank that some vocabularies put in front of every text: this one begins in the middle."""
        encode = self._tokenizer.encode
        lead = encode("\u263a", add_special_tokens=False)
        both = encode("\u263a" + text, add_special_tokens=False)
        adds_blank = lead and (self._tokenizer.token_name(lead[0]) or "").startswith("\u2581")
        if adds_blank and both[: len(lead)] == lead:
            return both[len(lead) :]
        return encode(text, add_special_tokens=False)


def find_middle_format(tokenizer: Tokenizer) -> MiddleFormat | None:
    """None where the vocabulary doesn't have the tokens."""
    for known in _FORMATS:
        names = [name for name in (known.prefix, known.suffix, known.middle) if name is not None]
        if all(tokenizer.token_id(name) is not None for name in names):
            return MiddleFormat(tokenizer, known)
    return None
