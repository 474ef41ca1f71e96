"""Texts and pairs of texts as encoder models read them: with special tokens, token types, and cut to a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from inglenook.errors import InvalidRequestError

if TYPE_CHECKING:
    import tokenizers

Input = str | tuple[str, str]
Affixes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class EncodedInput:
    """`token_type_ids` tell the texts of a pair apart, for models that ask for it."""

    token_ids: list[int]
    token_type_ids: list[int]


def encode_inputs(
    backend: tokenizers.Tokenizer, affixes: Affixes | None, inputs: Sequence[Input], *, add_special_tokens: bool
) -> list[EncodedInput]:
    """As transformers has it, without cutting."""
    if affixes is not None:
        return [_join(affixes, _parts(backend, given), add_special_tokens=add_special_tokens) for given in inputs]
    encodings = _encode(backend, list(inputs), add_special_tokens=add_special_tokens)
    return [EncodedInput(encoding.ids, encoding.type_ids) for encoding in encodings]


def encode_cut(
    backend: tokenizers.Tokenizer,
    affixes: Affixes | None,
    given: Input,
    *,
    add_special_tokens: bool,
    max_tokens: int,
    side: Literal["left", "right"],
) -> EncodedInput:
    """At most `max_tokens`, special ones included: what is dropped is text, of a pair that of the longer one first.

    Raises InvalidRequestError where there is no room for the special tokens.
    """
    is_pair = not isinstance(given, str)
    num_special = 0
    if add_special_tokens:
        num_special = backend.num_special_tokens_to_add(is_pair)
        if affixes is not None:
            num_special = (len(affixes[0]) + len(affixes[1])) * (1 + is_pair)
    room = max_tokens - num_special
    if room < 0:
        raise InvalidRequestError(
            f"truncate_prompt_tokens is {max_tokens}, but this model puts {num_special} tokens around a text.",
            param="truncate_prompt_tokens",
        )
    parts = _parts(backend, given)
    for part, length in zip(parts, shared_room([len(part.ids) for part in parts], room), strict=True):
        part.truncate(length, direction=side)
    if affixes is not None:
        return _join(affixes, parts, add_special_tokens=add_special_tokens)
    whole = backend.post_process(parts[0], parts[1] if is_pair else None, add_special_tokens)
    return EncodedInput(whole.ids, whole.type_ids)


def shared_room(lengths: Sequence[int], room: int) -> list[int]:
    """What is left of one or two texts: the longer one loses first, then both alike (longest_first of transformers)."""
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    shorter = min(lengths)
    kept = min(shorter, room // 2)
    is_first_shorter = lengths[0] <= lengths[1]
    return [kept, room - kept] if is_first_shorter else [room - kept, kept]


def _parts(backend: tokenizers.Tokenizer, given: Input) -> list[Any]:
    return _encode(backend, [given] if isinstance(given, str) else list(given), add_special_tokens=False)


def _join(affixes: Affixes, parts: Sequence[Any], *, add_special_tokens: bool) -> EncodedInput:
    before, after = affixes if add_special_tokens else ((), ())
    token_ids = [token_id for part in parts for token_id in (*before, *part.ids, *after)]
    return EncodedInput(token_ids, [0] * len(token_ids))


def _encode(backend: tokenizers.Tokenizer, inputs: list[Any], *, add_special_tokens: bool) -> list[Any]:
    try:
        return list(backend.encode_batch_fast(inputs, add_special_tokens=add_special_tokens))
    except TypeError as error:
        raise InvalidRequestError(
            "A text holds an unpaired surrogate, which isn't a character; send valid Unicode."
        ) from error
