"""What the store resolves a model to, and the tokenizer in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from inglenook.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from inglenook.checkpoint.checkpoint import Checkpoint


class Files(Protocol):
    """What the store resolves a model to."""

    @property
    def path(self) -> Path | None: ...
    @property
    def name(self) -> str: ...
    @property
    def sampling(self) -> Mapping[str, float]: ...


def load_tokenizer(checkpoint: Checkpoint, vocab_size: int) -> Tokenizer:
    if checkpoint.format == "gguf":
        return Tokenizer.from_gguf(checkpoint.config)
    if checkpoint.path is not None:
        return Tokenizer.from_folder(checkpoint.path)
    return Tokenizer.dummy(vocab_size)
