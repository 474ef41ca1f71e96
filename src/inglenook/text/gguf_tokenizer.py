"""A tokenizer from the metadata of a GGUF file (keys `tokenizer.ggml.*`; GGUF specification, section "Tokenizer")."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.text import pre_tokenizers
from inglenook.text.parts import TokenizerParts

if TYPE_CHECKING:
    import tokenizers

logger = logging.getLogger(__name__)

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # of tokenizer.ggml.token_type
_SPECIAL_KEYS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
    "sep_token": "seperator_token_id",  # spelled so in the specification
    "mask_token": "mask_token_id",
}
_END_OF_TURN_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


@dataclass(frozen=True)
class Vocabulary:
    """The arrays, one entry per token id. `types` and `scores` are empty where the file has none."""

    tokens: list[str]
    ids: dict[str, int]
    types: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    merges: list[tuple[str, str]] | None
    special_ids: dict[str, int]  # by the last part of their key, such as bos_token_id

    def special_text(self, key: str) -> str | None:
        token_id = self.special_ids.get(key)
        return None if token_id is None else self.tokens[token_id]


def from_metadata(metadata: Mapping[str, Any]) -> TokenizerParts:
    """Raises CheckpointError where the data is missing or contradicts itself, UnsupportedModelError for a kind of
    tokenizer that isn't implemented."""
    kind = metadata.get("tokenizer.ggml.model")
    build = _BUILDERS.get(str(kind))
    if build is None:
        raise UnsupportedModelError(
            f"The GGUF file has a tokenizer of the kind {kind!r} (tokenizer.ggml.model); "
            f"implemented are {', '.join(_BUILDERS)}."
        )
    try:
        vocabulary = _read(metadata, default_ids=_SENTENCEPIECE_IDS if kind == "llama" else {})
        backend, adds_bos = build(vocabulary, metadata)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # the library raises bare Exceptions, as when a merge isn't of two known tokens
        raise CheckpointError(f"No tokenizer can be built from the GGUF file's data: {error}") from error
    _add_special_tokens(backend, vocabulary)

    def affix(flag: str, default: bool, key: str) -> tuple[int, ...]:
        if not metadata.get(f"tokenizer.ggml.{flag}", default):
            return ()
        if key not in vocabulary.special_ids:
            logger.warning("The GGUF file asks for %s without naming the token; none is added.", flag)
            return ()
        return (vocabulary.special_ids[key],)

    special_tokens = {name: text for name, key in _SPECIAL_KEYS.items() if (text := vocabulary.special_text(key))}
    key = "tokenizer.chat_template"
    templates = {name[len(key) + 1 :]: str(text) for name, text in metadata.items() if name.startswith(f"{key}.")}
    if metadata.get(key):
        templates["default"] = str(metadata[key])
    return TokenizerParts(
        backend=backend,
        special_tokens=special_tokens,
        chat_templates=templates,
        affixes=(
            affix("add_bos_token", adds_bos, "bos_token_id"),
            affix("add_eos_token", False, "eos_token_id"),
        ),
        end_of_turn_ids=frozenset(
            vocabulary.special_ids[key] for key in _END_OF_TURN_KEYS if key in vocabulary.special_ids
        ),
    )


def _read(metadata: Mapping[str, Any], default_ids: Mapping[str, int]) -> Vocabulary:
    tokens: list[str] = list(_array(metadata, "tokens"))
    if not tokens:
        raise CheckpointError("The GGUF file has no vocabulary (tokenizer.ggml.tokens is missing or empty).")
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        doubled = next(token for token_id, token in enumerate(tokens) if ids[token] != token_id)
        raise CheckpointError(f"The GGUF file's vocabulary holds the token {doubled[:40]!r} twice.")
    types = np.asarray(_array(metadata, "token_type"), np.int32)
    scores = np.asarray(_array(metadata, "scores"), np.float32)
    for name, values in (("token_type", types), ("scores", scores)):
        if len(values) not in (0, len(tokens)):
            raise CheckpointError(f"tokenizer.ggml.{name} has {len(values)} entries for {len(tokens)} tokens.")
    merges = None
    if "tokenizer.ggml.merges" in metadata:
        # Whether each is of two tokens is left to the library, which looks anyway.
        merges = cast("list[tuple[str, str]]", [tuple(merge.split(" ")) for merge in _array(metadata, "merges")])
    special_ids = {key: token_id for key, token_id in default_ids.items() if token_id < len(tokens)}
    for key in {*_SPECIAL_KEYS.values(), *_END_OF_TURN_KEYS}:
        token_id = metadata.get(f"tokenizer.ggml.{key}")
        if token_id is None:
            continue
        if not 0 <= int(token_id) < len(tokens):
            raise CheckpointError(f"tokenizer.ggml.{key} is {token_id}, outside the vocabulary of {len(tokens)}.")
        special_ids[key] = int(token_id)
    return Vocabulary(tokens, ids, types, scores, merges, special_ids)


def _array(metadata: Mapping[str, Any], name: str) -> Any:
    """A list or a numpy array; empty where the file has none."""
    values = metadata.get(f"tokenizer.ggml.{name}", ())
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise CheckpointError(f"tokenizer.ggml.{name} is not an array.")
    return values


# --- one builder per kind: the back end, and whether it begins texts with a BOS token where the file doesn't say ----


def _byte_level(vocabulary: Vocabulary, metadata: Mapping[str, Any]) -> tuple[tokenizers.Tokenizer, bool]:
    """Byte-level BPE as GPT-2 has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    if vocabulary.merges is None:
        raise CheckpointError("The GGUF file's vocabulary has no merges (tokenizer.ggml.merges is missing).")
    splitter = pre_tokenizers.splitter_for(metadata.get("tokenizer.ggml.pre"))
    model = models.BPE(vocabulary.ids, vocabulary.merges, ignore_merges=splitter.ignore_merges)
    backend = Tokenizer(model)
    if splitter.nfc:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.build(splitter)
    backend.decoder = decoders.ByteLevel()
    return backend, splitter.adds_bos


_SENTENCEPIECE_IDS = {"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SPACE = "\u2581"


def _sentencepiece(vocabulary: Vocabulary, metadata: Mapping[str, Any]) -> tuple[tokenizers.Tokenizer, bool]:
    """SentencePiece's BPE with byte fallback (Kudo and Richardson 2018, arXiv:1808.06226)."""
    add_prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    merges = vocabulary.merges
    if merges is None:
        if not len(vocabulary.scores):
            raise CheckpointError("The GGUF file's vocabulary has neither scores nor merges.")
        merges = merges_from_scores(vocabulary.ids, vocabulary.scores.tolist())
    return sentencepiece_backend(vocabulary.ids, merges, vocabulary.special_text("unknown_token_id"), add_prefix), True


def sentencepiece_backend(
    ids: dict[str, int], merges: list[tuple[str, str]], unknown: str | None, add_prefix: bool
) -> tokenizers.Tokenizer:
    """The whole text is one word, in which spaces are U+2581; bytes that no token covers are <0x00> to <0xFF>.

    `add_prefix` puts a space before the text, and before what follows a special token, and takes it off on decoding.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    backend = Tokenizer(models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", SPACE)]
    steps: list[decoders.Decoder] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if add_prefix:
        spaces.insert(0, normalizers.Prepend(SPACE))
        steps.append(decoders.Strip(" ", 1, 0))
    backend.normalizer = normalizers.Sequence(spaces)
    backend.decoder = decoders.Sequence(steps)
    return backend


def merges_from_scores(ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Merges that build every token from two others, the best score first, as SentencePiece picks pairs.

    Among the ways to cut one token the longer left part goes first, as in the converter of transformers.
    """
    found: list[tuple[float, int, int, int, str, str]] = []
    for token, token_id in ids.items():
        for cut in range(1, len(token)):
            left = token[:cut]
            if left in ids and (right := token[cut:]) in ids:
                found.append((-scores[token_id], -cut, cut - len(token), token_id, left, right))
    found.sort()
    return [(left, right) for *_, left, right in found]


_Builder = Callable[[Vocabulary, Mapping[str, Any]], "tuple[tokenizers.Tokenizer, bool]"]
_BUILDERS: dict[str, _Builder] = {"gpt2": _byte_level, "llama": _sentencepiece}


def _add_special_tokens(backend: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Control tokens are recognised in text and left out of it on decoding; user-defined ones are only recognised."""
    from tokenizers import AddedToken

    types = vocabulary.types
    special = set(np.flatnonzero((types == _CONTROL) | (types == _UNKNOWN)).tolist())
    # An unknown or padding token may be an ordinary one that only serves as such.
    sure = ("bos_token_id", *_END_OF_TURN_KEYS) if len(types) else tuple(vocabulary.special_ids)
    special.update(vocabulary.special_ids[key] for key in sure if key in vocabulary.special_ids)
    names = [vocabulary.tokens[token_id] for token_id in sorted(special)]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names if name])
    plain = [
        AddedToken(vocabulary.tokens[token_id], special=False, normalized=False)
        for token_id in np.flatnonzero(types == _USER_DEFINED).tolist()
        if vocabulary.tokens[token_id] and token_id not in special
    ]
    backend.add_tokens(plain)
