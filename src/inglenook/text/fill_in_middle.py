"""Prompts from which a model writes what stands between two texts, where its vocabulary has the tokens for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inglenook.text.inside import encode_inside
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import SourceFile

_FULLWIDTH = "<\uff5cfim\u2581{}\uff5c>"  # DeepSeek's bar and blank


@dataclass(frozen=True)
class _Format:
    """Names of the tokens before the text in front, before the one behind, and before the middle where there is one."""

    prefix: str
    suffix: str
    middle: str | None
    is_suffix_first: bool = False


_FORMATS = (
    _Format("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen 2.5 Coder, CodeGemma
    _Format("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite Code
    _Format("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    _Format(_FULLWIDTH.format("begin"), _FULLWIDTH.format("hole"), _FULLWIDTH.format("end")),  # DeepSeek Coder
    _Format("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),  # Code Llama
    _Format("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM-4, CodeGeeX 4
    _Format("[PREFIX]", "[SUFFIX]", None, is_suffix_first=True),  # Codestral
)
# Before a repository's name and before each file's: Qwen 2.5 Coder, StarCoder 2, CodeGemma (which has no repository).
_FILE_MARKS = (("<|repo_name|>", "<|file_sep|>"), ("<repo_name>", "<file_sep>"), (None, "<|file_separator|>"))
# Names where a request gives none, and what stands between files without a mark: llama.cpp's.
_REPOSITORY, _THIS_FILE, _BETWEEN = "myproject\n", "filename\n", "\n\n--- snippet ---\n\n"
# Behind the middle some models go on to pad, or to another file.
_ENDS = (
    *("<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<fim_pad>", "<fim-pad>", "<file_sep>", "<|file_separator|>"),
    *("\u2581<EOT>", "<EOT>"),
)


@dataclass(frozen=True)
class MiddlePrompt:
    """`num_cut` tokens of the files, of the text in front and of the one behind were left out."""

    token_ids: list[int]
    num_cut: tuple[int, int, int] = (0, 0, 0)


class MiddleFormat:
    """Of one vocabulary. `end_ids` end an answer, beside the model's own."""

    def __init__(self, tokenizer: Tokenizer, known: _Format) -> None:
        self._tokenizer = tokenizer
        self._format = known
        names = (known.prefix, known.suffix, known.middle, *_ENDS)
        ids = {name: tokenizer.token_id(name) for name in names if name is not None}
        self._ids = {name: token_id for name, token_id in ids.items() if token_id is not None}
        self.end_ids = frozenset(self._ids.values())

    def prompt(
        self,
        prefix: Sequence[int],
        suffix: str,
        *,
        files: Sequence[SourceFile] = (),
        add_special_tokens: bool,
        max_tokens: int | None = None,
    ) -> MiddlePrompt:
        """With at most `max_tokens` tokens, but for those that separate.

        What is too long is cut where it is farthest from the middle: the files first, at their beginning; then the text
        in front at its beginning and the one behind at its end, of which it keeps a quarter of the room at least.
        """
        known = self._format
        bos = self._tokenizer.bos_token_id
        begins = add_special_tokens and bos is not None and bos in self._tokenizer.encode("")[:1]
        head = [bos] if begins and bos is not None else []
        before, behind, extra = list(prefix), encode_inside(self._tokenizer, suffix), self._file_ids(files)
        end = [self._ids[known.middle]] if known.middle is not None else []
        lengths = (len(extra), len(before), len(behind))
        if max_tokens is not None:
            room = max(max_tokens - len(head) - 2 - len(end), 0)
            behind = behind[: max(room // 4, room - len(before))]
            before = before[max(len(before) - (room - len(behind)), 0) :]
            extra = extra[max(len(extra) - (room - len(before) - len(behind)), 0) :]
        num_files, num_before, num_behind = (
            length - len(kept) for length, kept in zip(lengths, (extra, before, behind), strict=True)
        )
        parts = [[self._ids[known.prefix], *before], [self._ids[known.suffix], *behind]]
        if known.is_suffix_first:
            parts.reverse()
        return MiddlePrompt([*head, *extra, *parts[0], *parts[1], *end], (num_files, num_before, num_behind))

    def _file_ids(self, files: Sequence[SourceFile]) -> list[int]:
        if not files:
            return []
        encode = self._tokenizer.encode
        marks = ((repository, self._tokenizer.token_id(separator)) for repository, separator in _FILE_MARKS)
        repository, separator = next((mark for mark in marks if mark[1] is not None), (None, None))
        token_ids: list[int] = []
        repository_id = None if repository is None else self._tokenizer.token_id(repository)
        if repository_id is not None:
            token_ids += [repository_id, *encode(_REPOSITORY, add_special_tokens=False)]
        for file in files:
            name = f"{file.name}\n" if separator is not None else _BETWEEN
            token_ids += [] if separator is None else [separator]
            token_ids += encode(name + file.text, add_special_tokens=False)
        if separator is not None:
            token_ids += [separator, *encode(_THIS_FILE, add_special_tokens=False)]
        return token_ids


def find_middle_format(tokenizer: Tokenizer) -> MiddleFormat | None:
    """None where the vocabulary doesn't have the tokens."""
    for known in _FORMATS:
        names = [name for name in (known.prefix, known.suffix, known.middle) if name is not None]
        if all(tokenizer.token_id(name) is not None for name in names):
            return MiddleFormat(tokenizer, known)
    return None
