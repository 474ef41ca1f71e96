"""How byte-level BPE vocabularies in GGUF files split text before they merge, by the file's `tokenizer.ggml.pre`.

A GGUF file only names its splitter. The expressions are those of the tokenizer.json files that the models publish;
which names share one follows llama.cpp (src/llama-vocab.cpp).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inglenook.errors import UnsupportedModelError

if TYPE_CHECKING:
    from tokenizers import pre_tokenizers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splitter:
    """Each expression of `splits` cuts the pieces of the one before: a match is a piece, and so is what lies between.

    `gpt2` then applies GPT-2's own expression. `ignore_merges`: a piece that is a token stays whole, whatever the
    merges say. `adds_bos` is what llama.cpp assumes where the file doesn't say. `nfc` normalises text first.
    """

    splits: tuple[str, ...] = ()
    gpt2: bool = False
    ignore_merges: bool = False
    adds_bos: bool = False
    nfc: bool = False


_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_SPACES}"
_QWEN2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_SYMBOLS}|{_SPACES}"
_QWEN35 = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
# Words by case: capitals, then small letters, so that "HelloWorld" is two.
_CAPITALS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_CAPITALS}*{_SMALL}+"
_CAPITALISED = rf"[^\r\n\p{{L}}\p{{N}}]?{_CAPITALS}+{_SMALL}*"
_SYMBOLS_OR_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_TEKKEN = rf"{_CASED}|{_CAPITALISED}|\p{{N}}|{_SYMBOLS_OR_SLASH}|{_SPACES}"
_GPT4O = rf"{_CASED}{_CONTRACTION}?|{_CAPITALISED}{_CONTRACTION}?|\p{{N}}{{1,3}}|{_SYMBOLS_OR_SLASH}|{_SPACES}"
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)
_DIGIT = r"\p{N}"
_CHINESE_JAPANESE = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_CHINESE_KOREAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

_GPT2_LIKE = Splitter(gpt2=True)
_DIGITS_THEN_GPT2 = Splitter((_DIGIT,), gpt2=True)

_SPLITTERS: tuple[tuple[str, Splitter], ...] = (
    ("gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum modern-bert", _GPT2_LIKE),
    ("smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", _DIGITS_THEN_GPT2),
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2",
        Splitter((_LLAMA3,), ignore_merges=True, adds_bos=True),
    ),
    ("dbrx smaug-bpe glm4 chatglm-bpe", Splitter((_LLAMA3,))),
    ("qwen2", Splitter((_QWEN2,), nfc=True)),
    ("deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", Splitter((_QWEN2,))),
    ("qwen35", Splitter((_QWEN35,), nfc=True)),
    ("tekken", Splitter((_TEKKEN,), ignore_merges=True, adds_bos=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", Splitter((_GPT4O,))),
    ("deepseek-v3 hunyuan-dense joyai-llm", Splitter((r"\p{N}{1,3}", _CHINESE_JAPANESE, _DEEPSEEK3))),
    ("deepseek-coder", Splitter((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CHINESE_KOREAN, _DIGIT))),
    ("seed-coder", Splitter((rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}",))),
    (
        "bailingmoe bailingmoe2 llada-moe",
        Splitter((rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_SYMBOLS}|\s*[\r\n]|\s+(?!\S)|\s+",)),
    ),
)
_BY_NAME = {name: splitter for names, splitter in _SPLITTERS for name in names.split()}

# What llama.cpp does with a file that names none.
_DEFAULT = Splitter(
    (
        r"[\p{P}\$\+<=>\^~\|]+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
        r"\p{N}+",
        r"[0-9][0-9][0-9]",
    )
)


def splitter_for(pre: str | None) -> Splitter:
    """The splitter of a `tokenizer.ggml.pre`. Raises UnsupportedModelError where the name is unknown."""
    if pre in (None, "", "default"):
        logger.warning(
            "The GGUF file doesn't say how its tokenizer splits text (tokenizer.ggml.pre); llama.cpp's default is "
            "used. Tokens may differ from those the model was trained on; a current converter names its splitter."
        )
        return _DEFAULT
    splitter = _BY_NAME.get(str(pre))
    if splitter is None:
        raise UnsupportedModelError(
            f"The GGUF file's tokenizer splits text in a way that isn't implemented (tokenizer.ggml.pre is {pre!r}; "
            f"known: {', '.join(sorted(_BY_NAME))}). Load the model from a folder with its tokenizer.json instead."
        )
    return splitter


def build(splitter: Splitter) -> pre_tokenizers.PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(Regex(expression), behavior="isolated") for expression in splitter.splits
    ]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splitter.gpt2))
    return pre_tokenizers.Sequence(steps)
