"""How a tokenizer's decoder turns tokens into bytes: read once from the decoder, then applied token by token.

Covers the decoders of generating models: byte-level, and SentencePiece's (spaces as U+2581, bytes as <0x00> to <0xFF>).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import tokenizers

SPACE = "\u2581"


@dataclass(frozen=True)
class ByteRule:
    """`kind` "other": a decoder whose tokens can't be looked at one by one.

    `leading` says what becomes of spaces at the beginning of a text: kept, one is dropped, or all U+2581 of the
    first token are (the Metaspace decoder).
    """

    kind: Literal["byte_level", "sentencepiece", "other"]
    byte_fallback: bool = False
    leading: Literal["keep", "drop_one", "drop_first_token"] = "keep"

    def token_bytes(self, text: str) -> bytes:
        """The bytes of the token that the vocabulary spells `text`, spaces at the beginning of a text included."""
        if self.kind == "byte_level":
            try:
                return bytes([BYTE_OF_CHARACTER[character] for character in text])
            except KeyError:  # an added token, spelled as it is
                return text.encode()
        if self.kind == "sentencepiece":
            if self.byte_fallback and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
                try:
                    return bytes([int(text[3:5], 16)])
                except ValueError:
                    pass
            return text.replace(SPACE, " ").encode()
        return text.encode()


def byte_rule(backend: tokenizers.Tokenizer) -> ByteRule:
    decoder = backend.decoder
    if decoder is None:
        return ByteRule("other")
    state: dict[str, Any] = json.loads(decoder.__getstate__())
    steps = state["decoders"] if state["type"] == "Sequence" else [state]
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"]:
        return ByteRule("byte_level")
    has_spaces = any(_is_space_step(step) for step in steps)
    if not has_spaces or not all(_is_known_step(step) for step in steps):
        return ByteRule("other")
    leading: Literal["keep", "drop_one", "drop_first_token"] = "keep"
    if any(step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never" for step in steps):
        leading = "drop_first_token"
    elif kinds[-1] == "Strip" and "Fuse" in kinds:
        leading = "drop_one"
    elif "Strip" in kinds:
        return ByteRule("other")
    return ByteRule("sentencepiece", "ByteFallback" in kinds, leading)


def _is_space_step(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Metaspace":
        return bool(step.get("replacement") == SPACE)
    return bool(step["type"] == "Replace" and step["pattern"] == {"String": SPACE} and step["content"] == " ")


def _is_known_step(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Strip":
        return bool((step["content"], step["start"], step["stop"]) == (" ", 1, 0))
    return step["type"] in ("ByteFallback", "Fuse") or _is_space_step(step)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable ones as themselves, the others as the characters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return alphabet


BYTE_OF_CHARACTER = _byte_alphabet()
