"""A WordPiece tokenizer from vocab.txt (Hugging Face's BertTokenizer), where a model has nothing newer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inglenook.errors import CheckpointError, UnsupportedModelError

if TYPE_CHECKING:
    import tokenizers

_CLASSES = frozenset(
    f"{name}Tokenizer{suffix}"
    for name in ("Bert", "DistilBert", "Electra", "MobileBert", "RetriBert", "ConvBert", "LayoutLM")
    for suffix in ("", "Fast")
)
# What transformers takes for the names that a configuration leaves open.
_DEFAULT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def read_vocabulary(
    path: Path, special_tokens: Mapping[str, str], config: Mapping[str, Any]
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """The tokenizer, and its special tokens by name. `config` is that of tokenizer_config.json.

    Raises CheckpointError, and UnsupportedModelError where another kind of tokenizer is meant.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    kind = config.get("tokenizer_class")
    if kind is not None and kind not in _CLASSES:
        raise UnsupportedModelError(
            f"The model folder has its tokenizer only as vocab.txt, which isn't read for {str(kind)[:80]}. Make a "
            "tokenizer.json of it with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    tokens = {**_DEFAULT_TOKENS, **special_tokens}
    vocabulary = _read_lines(path)
    missing = [tokens[name] for name in ("unk_token", "sep_token", "cls_token") if tokens[name] not in vocabulary]
    if missing:
        raise CheckpointError(f"vocab.txt lacks {', '.join(missing)}, without which it is no BERT vocabulary.")
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=tokens["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = tokens["cls_token"], tokens["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    backend.decoder = decoders.WordPiece()
    return backend, {name: text for name, text in tokens.items() if text in vocabulary}


def _read_lines(path: Path) -> dict[str, int]:
    """A token a line; its id is the line's number."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} can't be read: {error}") from error
    if lines and not lines[-1]:
        lines.pop()
    return {line.rstrip("\r"): token_id for token_id, line in enumerate(lines)}
