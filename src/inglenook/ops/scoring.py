"""How likely given tokens are: the Python face of native/src/scoring.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from inglenook.ops import _native
from inglenook.ops._native import ThreadPool

# Log-probability, rank (how many tokens are at least as likely), and the likeliest: (token id, log-probability).
Score: TypeAlias = tuple[float, int, tuple[tuple[int, float], ...]]


def score(
    logits: npt.NDArray[np.float32],
    rows: Sequence[int],
    token_ids: Sequence[int],
    num_top: Sequence[int],
    pool: ThreadPool | None = None,
) -> list[Score | None]:
    """token_ids[i] as row rows[i] of the logits has it, with the num_top[i] likeliest.

    None for a row that holds NaN or infinity. Log-probabilities are no lower than -9999. `pool` is as in `sample`.
    """
    return _native.score(logits, list(rows), list(token_ids), list(num_top), pool)
