"""From token ids to the text of one choice, up to its stop string."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inglenook.text.detokenizer import Detokenizer


@dataclass(frozen=True)
class TextPiece:
    """Text that is sure, and how many tokens it belongs to: the oldest of those that no piece has counted yet.

    A token is counted in the piece that holds its first character; one without characters in the next piece.
    `stop_reason` is the stop string that ended the text.
    """

    text: str
    num_tokens: int
    stop_reason: str | None = None


class TextStream:
    """Text is held back only while it can be the beginning of a stop string, or of a character.

    A stop string counts where it is complete earliest (of those complete at the same place the longest counts), and
    not before more than `min_tokens` tokens are there. The text ends before it, or with it if `include_stop`; tokens
    that hold nothing but the stop string are counted in no piece. Every stop string is at least one character long.
    """

    def __init__(
        self, detokenizer: Detokenizer, stop: Sequence[str] = (), include_stop: bool = False, min_tokens: int = 0
    ) -> None:
        self._detokenizer = detokenizer
        self._matchers = [_Matcher(text) for text in stop]
        self._include_stop = include_stop
        self._min_tokens = min_tokens
        self._held = ""  # characters that are known, but not released
        self._num_released = 0  # characters
        self._starts: deque[int] = deque()  # of every token that isn't counted yet: its first character's index
        self.num_tokens = 0
        self.is_stopped = False

    def push(self, token_id: int) -> TextPiece | None:
        """Take the next token; None where it releases nothing. Not to be called once a piece had a stop_reason."""
        assert not self.is_stopped
        self.num_tokens += 1
        self._starts.append(self._num_released + len(self._held))
        return self._take(self._detokenizer.push(token_id))

    def flush(self) -> TextPiece:
        """All that is left, when no token follows. It can still complete a stop string."""
        if self.is_stopped:
            return TextPiece("", 0)
        piece = self._take(self._detokenizer.flush())
        if self.is_stopped:
            assert piece is not None
            return piece
        text = (piece.text if piece else "") + self._held
        num_tokens = (piece.num_tokens if piece else 0) + len(self._starts)
        self._held = ""
        self._starts.clear()
        return TextPiece(text, num_tokens)

    def _take(self, new: str) -> TextPiece | None:
        if not self._matchers:
            return self._release(new, None) if new else None
        for index, character in enumerate(new):
            matched = [matcher for matcher in self._matchers if matcher.push(character)]
            if matched and self.num_tokens > self._min_tokens:
                stop = max((matcher.text for matcher in matched), key=len)
                self.is_stopped = True
                text = self._held + new[: index + 1]
                return self._release(text if self._include_stop else text[: len(text) - len(stop)], stop)
        text = self._held + new
        num_held = max(matcher.num_matched for matcher in self._matchers)
        self._held = text[len(text) - num_held :]
        text = text[: len(text) - num_held]
        return self._release(text, None) if text else None

    def _release(self, text: str, stop_reason: str | None) -> TextPiece:
        self._num_released += len(text)
        num_tokens = 0
        while self._starts and self._starts[0] < self._num_released:
            self._starts.popleft()
            num_tokens += 1
        return TextPiece(text, num_tokens, stop_reason)


class _Matcher:
    """Finds one string in a stream of characters (Knuth, Morris and Pratt 1977): constant time for each, on average.

    `num_matched` is the length of the longest beginning of the string that the stream ends in, the whole left out.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.num_matched = 0
        # Of each beginning of the text: the length of the longest shorter one that it ends in.
        self._borders = [0, 0]
        border = 0
        for character in text[1:]:
            while border and text[border] != character:
                border = self._borders[border]
            border += text[border] == character
            self._borders.append(border)

    def push(self, character: str) -> bool:
        """Whether the stream now ends in the whole string."""
        matched = self.num_matched
        while matched and self.text[matched] != character:
            matched = self._borders[matched]
        matched += self.text[matched] == character
        is_whole = matched == len(self.text)
        self.num_matched = self._borders[matched] if is_whole else matched
        return is_whole
