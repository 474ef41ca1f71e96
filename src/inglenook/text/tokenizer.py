"""Text to token ids and back, over the `tokenizers` library; built from a GGUF file's metadata or a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from inglenook.errors import InvalidRequestError
from inglenook.text.detokenizer import Detokenizer
from inglenook.text.pairs import EncodedInput, Input, encode_cut, encode_inputs
from inglenook.text.parts import TokenizerParts
from inglenook.text.token_bytes import byte_rule

# Special tokens by which models end a turn, whatever their files name as end of text (llama.cpp's list).
# fmt: off
_END_OF_TURN = frozenset((
    "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>",
    "<end_of_turn>", "<turn|>", "<|tool_response>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<EOT>",
    "_<EOT>", "[EOT]", "[EOS]", "<end_of_utterance>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[",
))
# fmt: on
# In vocabularies that have all of the former, the latter only ends a part of a turn (gpt-oss, Solar Open, Gemma 4).
_NOT_END_OF_TURN = (
    ({"<|return|>", "<|call|>"}, "<|end|>"),
    ({"<|flush|>", "<|calls|>"}, "<|end|>"),
    ({"<|tool_response>"}, "</s>"),
)


class Tokenizer:
    """Safe to use from several threads at once.

    `vocab_size` counts ids, holes included. `special_ids` are those that skip_special_tokens leaves out of texts.
    `special_tokens` holds what templates read: bos_token, eos_token, unk_token, pad_token, where the model has them.
    `added_tokens` are those that are found in a text before it is split (name -> id), special or not.
    `end_of_turn_ids` are the ids at which a chat model's answer is complete.
    """

    def __init__(self, parts: TokenizerParts) -> None:
        self._backend = parts.backend
        self._affixes = parts.affixes
        self._backend.no_truncation()
        self._backend.no_padding()
        self.byte_rule = byte_rule(parts.backend)
        self.special_tokens: Mapping[str, str] = parts.special_tokens
        self.chat_templates = parts.chat_templates
        added = self._backend.get_added_tokens_decoder()
        self.special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self.vocab_size = max(self._backend.get_vocab_size(), *(token_id + 1 for token_id in added), 0)
        self.bos_token_id = self._named_id("bos_token")
        self.eos_token_id = self._named_id("eos_token")
        self.added_tokens: Mapping[str, int] = {token.content: token_id for token_id, token in added.items()}
        added_ids = self.added_tokens
        ends = _END_OF_TURN & added_ids.keys()
        for present, name in _NOT_END_OF_TURN:
            if present <= added_ids.keys():
                ends -= {name}
        eos = () if self.eos_token_id is None else (self.eos_token_id,)
        self.end_of_turn_ids = frozenset((*parts.end_of_turn_ids, *eos, *(added_ids[name] for name in ends)))
        self._bytes: dict[int, bytes] = {}

    @property
    def chat_template(self) -> str | None:
        """The model's usual one."""
        return self.chat_templates.get("default")

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """From the metadata of a GGUF file; arrays may be lists or numpy arrays.

        Raises CheckpointError or UnsupportedModelError.
        """
        from inglenook.text import gguf_tokenizer

        return cls(gguf_tokenizer.from_metadata(metadata))

    @classmethod
    def from_folder(cls, path: Path) -> Tokenizer:
        """From tokenizer.json and tokenizer_config.json as Hugging Face lays them out.

        Raises CheckpointError or UnsupportedModelError.
        """
        from inglenook.text import folder_tokenizer

        return cls(folder_tokenizer.from_folder(path))

    @classmethod
    def dummy(cls, vocab_size: int) -> Tokenizer:
        """For a model with random weights: bytes, and made-up words for the ids beyond them."""
        from inglenook.text.dummy_tokenizer import dummy_parts

        return cls(dummy_parts(vocab_size))

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text; special tokens that it spells out are recognised, as in transformers.

        `add_special_tokens` puts the model's BOS and EOS around it, where the model has that habit. Doesn't hold the
        interpreter lock while it works. Raises InvalidRequestError for text with unpaired surrogates.
        """
        affixes = self._affixes
        encoding = self._encoding(text, add_special_tokens=add_special_tokens and affixes is None, is_fast=True)
        ids: list[int] = encoding.ids
        if affixes is not None and add_special_tokens:
            ids = [*affixes[0], *ids, *affixes[1]]
        return ids

    def encode_with_offsets(self, text: str, *, add_special_tokens: bool = True) -> list[tuple[int, int, int]]:
        """As `encode`: each token's id, and where it begins and ends in the text, in characters."""
        affixes = self._affixes if add_special_tokens else None
        encoding = self._encoding(text, add_special_tokens=add_special_tokens and affixes is None)
        before, after = affixes or ((), ())
        return [
            *((token_id, 0, 0) for token_id in before),
            *((token_id, *span) for token_id, span in zip(encoding.ids, encoding.offsets, strict=True)),
            *((token_id, 0, 0) for token_id in after),
        ]

    def encode_inputs(self, inputs: Sequence[Input], *, add_special_tokens: bool = True) -> list[EncodedInput]:
        """Texts and pairs of texts as encoder models read them. Otherwise as `encode`."""
        return encode_inputs(self._backend, self._affixes, inputs, add_special_tokens=add_special_tokens)

    def encode_cut(
        self, given: Input, max_tokens: int, side: Literal["left", "right"], *, add_special_tokens: bool = True
    ) -> EncodedInput:
        """As `encode_inputs`, cut to so many tokens."""
        return encode_cut(
            self._backend,
            self._affixes,
            given,
            add_special_tokens=add_special_tokens,
            max_tokens=max_tokens,
            side=side,
        )

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids; bytes that aren't UTF-8 become U+FFFD, ids outside the vocabulary nothing.

        Equals transformers' decode without its clean-up, but for bytes that aren't UTF-8 in SentencePiece
        vocabularies: there transformers gives up the valid characters next to them too.
        """
        if self.byte_rule.kind == "other":
            known = [token_id for token_id in token_ids if 0 <= token_id < self.vocab_size]
            return str(self._backend.decode(known, skip_special_tokens=skip_special_tokens))
        detokenizer = Detokenizer(self, skip_special_tokens=skip_special_tokens)
        return "".join([detokenizer.push(token_id) for token_id in token_ids]) + detokenizer.flush()

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes that a token stands for: b"" for an id outside the vocabulary, its name for a special one."""
        known = self._bytes.get(token_id)
        if known is None:
            name = self.token_name(token_id)
            known = self._bytes[token_id] = b"" if name is None else self.byte_rule.token_bytes(name)
        return known

    def token_text(self, token_id: int) -> str:
        """The text of one token on its own, with U+FFFD where its bytes aren't whole characters."""
        return self.token_bytes(token_id).decode(errors="replace")

    def token_name(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it; None for an id outside."""
        if not 0 <= token_id < self.vocab_size:
            return None
        name: str | None = self._backend.id_to_token(token_id)
        return name

    def vocabulary(self) -> dict[int, str]:
        """Every id that stands for a token, and the token as it is spelled."""
        return {token_id: name for name, token_id in self._backend.get_vocab().items()}

    def token_id(self, name: str) -> int | None:
        """The id of a token as the vocabulary spells it."""
        token_id: int | None = self._backend.token_to_id(name)
        return token_id

    def _encoding(self, text: str, *, add_special_tokens: bool, is_fast: bool = False) -> Any:
        """`is_fast`: without offsets."""
        # The batch calls, because the one for a single text keeps the interpreter lock: 12 s for 10 MB.
        encode = self._backend.encode_batch_fast if is_fast else self._backend.encode_batch
        try:
            [encoding] = encode([text], add_special_tokens=add_special_tokens)
        except TypeError as error:
            raise InvalidRequestError(
                "The text holds an unpaired surrogate, which isn't a character; send valid Unicode."
            ) from error
        return encoding

    def _named_id(self, name: str) -> int | None:
        text = self.special_tokens.get(name)
        return None if text is None else self.token_id(text)
