"""A model's tokens as grammars need them. Plain data in, llguidance's tokenizer out, made at its first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLTokenizer


class Vocabulary:
    """Safe to use from several threads at once. Making the tokenizer takes about 0.15 s for 50,000 tokens.

    `size` is that of the model's logits, which may have more rows than there are tokens. `special_tokens` (name -> id)
    are those that stand for themselves: a special token never counts as the text of its name. It must be the mapping
    that the grammar's literals were written with. `end_ids` are the tokens at which an answer is complete. `encode`
    splits a text without adding anything to it.
    """

    def __init__(
        self,
        *,
        size: int,
        num_tokens: int,
        token_bytes: Callable[[int], bytes],
        encode: Callable[[str], Sequence[int]],
        special_tokens: Mapping[str, int],
        end_ids: Collection[int],
    ) -> None:
        assert num_tokens <= size and all(0 <= token_id < num_tokens for token_id in special_tokens.values())
        self.size = size
        self.num_words = -(-size // 32)  # of a mask
        self.special_tokens = special_tokens
        self.end_ids = frozenset(token_id for token_id in end_ids if 0 <= token_id < num_tokens)
        self.num_tokens = num_tokens
        self.token_bytes = token_bytes
        self._encode = encode
        self._names = {token_id: name for name, token_id in special_tokens.items()}
        self._lock = threading.Lock()

    @property
    def phantom_id(self) -> int | None:
        """The end token that llguidance is told of where the model has none. Beyond every mask."""
        return None if self.end_ids else self.size

    @property
    def tokenizer(self) -> LLTokenizer:
        with self._lock:
            return self._tokenizer

    def encode(self, text: str) -> list[int]:
        """The tokens of exactly this text, none of them special."""
        ids = list(self._encode(text))
        if self._names.keys() & set(ids):
            return [token_id for piece in self._broken_names(text) for token_id in self._exact(piece)]
        return ids if self._is_text(ids, text) else self._exact(text)

    def mark(self, text: str) -> list[int]:
        """The tokens of a text in which names of special tokens stand for the tokens."""
        for name, token_id in self.special_tokens.items():
            before, found, after = text.partition(name)
            if found and name:
                return [*self.mark(before), token_id, *self.mark(after)]
        return self.encode(text) if text else []

    def _broken_names(self, text: str) -> list[str]:
        """The text cut inside of each special token's name, so that no piece spells one."""
        cuts = sorted({i + 1 for name in self.special_tokens if name for i in _occurrences(text, name)})
        return [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True) if i < j]

    def _exact(self, text: str) -> list[int]:
        ids = list(self._encode(text))
        if self._is_text(ids, text):
            return ids
        # Some tokenizers begin every text with a space. Behind a newline they don't.
        begin, ids = list(self._encode("\n")), list(self._encode("\n" + text))
        if ids[: len(begin)] == begin and self._is_text(ids[len(begin) :], text):
            return ids[len(begin) :]
        return list(self._tokenizer.greedy_tokenize(text))

    def _is_text(self, ids: Sequence[int], text: str) -> bool:
        return b"".join(map(self.token_bytes, ids)) == text.encode()

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper  # a fifth of a second that no start should wait for

        ends = sorted(self.end_ids) or [self.size]
        return LLTokenizer(TokenizerWrapper(_Tokens(self, ends)), n_vocab=max(self.size, ends[-1] + 1), eos_token=ends)


class _Tokens:
    """What llguidance reads of a tokenizer."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary, ends: list[int]) -> None:
        self._vocabulary = vocabulary
        self.eos_token_id = ends[0]
        size = max(vocabulary.size, ends[-1] + 1)
        named = vocabulary.num_tokens
        self.tokens = [vocabulary.token_bytes(token_id) for token_id in range(named)] + [b""] * (size - named)
        if vocabulary.phantom_id is not None:
            self.tokens[vocabulary.phantom_id] = b"<end>"
        self.special_token_ids = sorted({*vocabulary.special_tokens.values(), *ends})

    def __call__(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise TypeError("text, not bytes")  # so llguidance finds out which of both is taken
        return self._vocabulary.encode(text)


def _occurrences(text: str, name: str) -> list[int]:
    found, start = [], text.find(name)
    while start >= 0:
        found.append(start)
        start = text.find(name, start + 1)
    return found
