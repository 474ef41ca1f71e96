"""Follows one sequence through a grammar: what the engine asks of a guide (engine/guide.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inglenook.errors import EngineError
from inglenook.grammar.thinking import ThinkingCounter
from inglenook.grammar.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher


class TokenGuide:
    """Depends on the accepted tokens alone. Not thread-safe."""

    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary, thinking: ThinkingCounter | None) -> None:
        self._matcher = matcher
        self._thinking = thinking
        self._num_bytes = vocabulary.num_words * 4
        # llguidance writes masks of its own vocabulary, which has a token more where the model has no end token.
        self._wide: npt.NDArray[np.uint32] | None = None
        if vocabulary.phantom_id is not None:
            self._wide = np.zeros(vocabulary.phantom_id // 32 + 1, np.uint32)
        self._phantom = vocabulary.phantom_id
        self._forced: list[int] | None = None  # of this state, once asked for

    @property
    def is_finished(self) -> bool:
        return bool(self._matcher.is_stopped())

    def fill_mask(self, mask: npt.NDArray[np.uint32]) -> None:
        end = self._thinking_end()
        if end:
            mask[:] = 0
            mask[end[0] >> 5] = 1 << (end[0] & 31)
            return
        if self._wide is not None:
            self._fill_wide(mask)
        else:
            self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, self._num_bytes)
        self._check()

    def forced(self) -> list[int]:
        if self._forced is None:
            self._forced = self._thinking_end() or self._known(self._matcher.compute_ff_tokens())
            self._check()
        return self._forced

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        if self._thinking is None:
            return self._count(token_ids)
        # The budget may force a token anywhere among these: one at a time.
        num_allowed = 0
        for token_id in token_ids:
            end = self._thinking_end()
            if (token_id != end[0]) if end else self._count([token_id]) == 0:
                break
            self.accept([token_id])
            num_allowed += 1
            if self.is_finished:
                break
        self.rollback(num_allowed)
        return num_allowed

    def accept(self, token_ids: Sequence[int]) -> None:
        if not token_ids:
            return
        self._forced = None
        if not self._matcher.consume_tokens(list(token_ids)):
            self._check()
            raise EngineError("The answer left its grammar.")
        if self._thinking is not None:
            self._thinking.accept(token_ids)

    def rollback(self, num_tokens: int) -> None:
        if not num_tokens:
            return
        self._forced = None
        if not self._matcher.rollback(num_tokens):
            self._check()
            raise EngineError("The grammar can't take back its last tokens.")
        if self._thinking is not None:
            self._thinking.rollback(num_tokens)

    def _thinking_end(self) -> list[int]:
        """What must come next because the thinking has had its tokens; nothing while a character isn't whole."""
        end = self._thinking.forced() if self._thinking is not None else []
        return end if end and self._count(end[:1]) else []

    def _count(self, token_ids: Sequence[int]) -> int:
        return int(self._matcher.validate_tokens(list(token_ids)))

    def _known(self, token_ids: list[int]) -> list[int]:
        return token_ids[: token_ids.index(self._phantom)] if self._phantom in token_ids else token_ids

    def _fill_wide(self, mask: npt.NDArray[np.uint32]) -> None:
        wide, phantom = self._wide, self._phantom
        assert wide is not None and phantom is not None
        self._matcher.unsafe_compute_mask_ptr(wide.ctypes.data, wide.nbytes)
        wide[phantom >> 5] &= ~np.uint32(1 << (phantom & 31))
        mask[:] = wide[: len(mask)]

    def _check(self) -> None:
        if self._matcher.is_error():
            raise EngineError(f"The answer's grammar failed: {first_line(self._matcher.get_error())}")


def first_line(error: str) -> str:
    """An error of llguidance without its dump of states and grammars."""
    return error.strip().split("\n", 1)[0].strip() or "no reason given"
