"""Token ids to text while they come."""

from __future__ import annotations

import codecs
from typing import Protocol

from inglenook.errors import UnsupportedModelError
from inglenook.text.token_bytes import ByteRule

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class TokenTexts(Protocol):
    """What a tokenizer knows of its tokens."""

    @property
    def byte_rule(self) -> ByteRule: ...

    @property
    def special_ids(self) -> frozenset[int]: ...

    def token_bytes(self, token_id: int) -> bytes: ...

    def token_name(self, token_id: int) -> str | None: ...


class Detokenizer:
    """Gives every character once all of its bytes are there; what it gives, joined, is the tokenizer's decode().

    `is_continuation`: the tokens carry on a text, so that the space with which SentencePiece begins a word is kept
    at the very beginning too. `kept_ids`: special tokens that show all the same, since something reads them.
    """

    def __init__(
        self,
        tokenizer: TokenTexts,
        *,
        skip_special_tokens: bool = True,
        is_continuation: bool = False,
        kept_ids: frozenset[int] = frozenset(),
    ) -> None:
        rule = tokenizer.byte_rule
        if rule.kind == "other":
            raise UnsupportedModelError(
                "This tokenizer's decoder is neither byte-level nor SentencePiece's; it can't decode token by token."
            )
        self._tokenizer = tokenizer
        self._skipped = tokenizer.special_ids - kept_ids if skip_special_tokens else frozenset[int]()
        self._decoder = _utf8_decoder(errors="replace")
        self._leading = "keep" if is_continuation else rule.leading

    def push(self, token_id: int) -> str:
        """The characters that this token completes: none, one or several."""
        if token_id in self._skipped:
            return ""
        data = self._tokenizer.token_bytes(token_id)
        if self._leading != "keep" and data:
            data = self._without_leading_space(token_id, data)
        return self._decoder.decode(data)

    def flush(self) -> str:
        """What a character cut off at the end leaves: U+FFFD, or nothing. Ends the text."""
        return self._decoder.decode(b"", final=True)

    def _without_leading_space(self, token_id: int, data: bytes) -> bytes:
        if self._leading == "drop_one":
            data = data.removeprefix(b" ")
        else:
            name = self._tokenizer.token_name(token_id) or ""
            data = self._tokenizer.byte_rule.token_bytes(name.replace("\u2581", ""))
        self._leading = "keep"
        return data
