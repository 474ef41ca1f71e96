"""Finds the token at which an output begins to run in a circle."""

from __future__ import annotations

import numpy as np

from inglenook.types import RepetitionDetection


class RepetitionWatch:
    """Sees the tokens of one output. A step costs O(max_pattern_size), whatever came before.

    For each size it counts how long every token has been the one that stood `size` before it.
    """

    def __init__(self, params: RepetitionDetection) -> None:
        sizes = np.arange(max(params.min_pattern_size, 1), params.max_pattern_size + 1)
        self._back = sizes - 1
        self._enough = sizes * (params.min_count - 1)
        self._runs = np.zeros(len(sizes), np.int64)
        self._recent = np.full(params.max_pattern_size, -1, np.int64)  # the last token first

    def sees(self, token_id: int) -> bool:
        """Take in the next token; whether the output ends in enough repetitions with it."""
        self._runs = (self._runs + 1) * (self._recent[self._back] == token_id)
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = token_id
        return bool((self._runs >= self._enough).any())


def watch_repetition(params: RepetitionDetection | None) -> RepetitionWatch | None:
    return None if params is None or params.max_pattern_size == 0 else RepetitionWatch(params)
