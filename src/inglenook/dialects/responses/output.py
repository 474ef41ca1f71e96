"""Deltas -> the items of a Response, and the events that tell of them: thoughts, texts, calls, in order."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.dialects.openai.chat import logprobs_body
from inglenook.dialects.openai.wanted import Wanted
from inglenook.dialects.responses import wire
from inglenook.dialects.responses.open_items import (
    OpenCall,
    OpenCustomCall,
    OpenFunctionCall,
    OpenItem,
    OpenText,
    OpenThought,
    Told,
)
from inglenook.types import Delta, TokenLogprob, ToolCallDelta

_AS_TEXT = Wanted()


class OutputItems:
    """`items` are those that are complete. Their ids come from the answer's, so that they are the same wherever made.

    `custom` names the tools whose calls hold plain text; `seals_thinking`: thoughts go into encrypted_content, too.
    """

    def __init__(self, response_id: str, *, custom: frozenset[str] = frozenset(), seals_thinking: bool = False) -> None:
        self.items: list[wire.OutputItem] = []
        self._id_end = response_id.partition("_")[2]
        self._custom = custom
        self._seals_thinking = seals_thinking
        self._open: OpenItem | None = None

    def add(self, delta: Delta) -> Told:
        told: Told = []
        if delta.reasoning:
            told += self._think(delta.reasoning)
        if delta.text or (delta.logprobs and isinstance(self._open, OpenText)):
            told += self._say(delta.text, delta.logprobs)
        for piece in delta.tool_calls:
            told += self._call(piece)
        return told

    def finish(self, status: wire.ItemStatus) -> Told:
        """An answer of nothing is an empty message."""
        told = [] if self._open is not None or self.items else self._say("", ())
        return told + self._close(status)

    def _think(self, text: str) -> Told:
        told: Told = []
        if not isinstance(self._open, OpenThought):
            told += self._close("completed")
            self._open = OpenThought(self._new_id("rs"), len(self.items))
            self._open.is_sealed = self._seals_thinking
            told += self._open.begin()
        return told + self._open.add(text)

    def _say(self, text: str, tokens: Sequence[TokenLogprob]) -> Told:
        told: Told = []
        if not isinstance(self._open, OpenText):
            told += self._close("completed")
            self._open = OpenText(self._new_id("msg"), len(self.items))
            told += self._open.begin()
        return told + (
            self._open.add(text, logprobs_body(_tokens_of(text, tokens), _AS_TEXT)) if text or tokens else []
        )

    def _call(self, piece: ToolCallDelta) -> Told:
        told: Told = []
        if not (isinstance(self._open, OpenCall) and self._open.call_index == piece.index):
            told += self._close("completed")
            name = piece.name or ""
            make, prefix = (OpenCustomCall, "ctc") if name in self._custom else (OpenFunctionCall, "fc")
            self._open = make(self._new_id(prefix), len(self.items), piece.index, piece.id or "", name)
            told += self._open.begin()
        return told + (self._open.add(piece.arguments) if piece.arguments else [])

    def _close(self, status: wire.ItemStatus) -> Told:
        if self._open is None:
            return []
        item, told = self._open.finish(status)
        self.items.append(item)
        self._open = None
        return told

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self._id_end}{len(self.items):04x}"


def _tokens_of(text: str, tokens: Sequence[TokenLogprob]) -> Sequence[TokenLogprob]:
    """Without those in front that made no text of the answer's: the marks of thinking that came with them."""
    wanted = text.encode()
    data = b""
    for position in range(len(tokens) - 1, -1, -1):
        data = tokens[position].bytes + data
        if data == wanted:
            return tokens[position:]
        if len(data) > len(wanted):
            break
    return tokens
