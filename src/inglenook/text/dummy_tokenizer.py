"""A vocabulary for models with random weights: the 256 bytes, and made-up words for every other id."""

from __future__ import annotations

from inglenook.text.parts import TokenizerParts
from inglenook.text.token_bytes import BYTE_OF_CHARACTER


def dummy_parts(vocab_size: int) -> TokenizerParts:
    """Texts are encoded byte by byte; every id below vocab_size decodes to something that can be read."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    character_of_byte = {byte: character for character, byte in BYTE_OF_CHARACTER.items()}
    space = character_of_byte[ord(" ")]
    names = [character_of_byte[byte] for byte in range(256)] + [f"{space}w{i}" for i in range(256, vocab_size)]
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names[:vocab_size])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    template = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    return TokenizerParts(backend, special_tokens={}, chat_templates={"default": template})
