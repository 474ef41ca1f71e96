"""What a tokenizer is put together from, whether its data comes from a GGUF file or from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True)
class TokenizerParts:
    """`affixes` are the ids put before and after a text; None leaves them to the back end's post-processor.

    `special_tokens` maps names (bos_token, eos_token, ...) to their text, `end_of_turn_ids` holds those that the
    model's files name as such. `chat_templates` are the model's, by name; the usual one is called default.
    """

    backend: tokenizers.Tokenizer
    special_tokens: Mapping[str, str]
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    affixes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    end_of_turn_ids: frozenset[int] = field(default_factory=frozenset)
