"""What the engine needs of whatever says which tokens may come next in a sequence: a grammar, a schema, tool calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt


class Guide(Protocol):
    """Follows one sequence from its first output token. It depends on those tokens alone. Not thread-safe.

    Any method may raise EngineError: then that request fails, and no other.
    """

    @property
    def is_finished(self) -> bool:
        """No token may follow: the answer is complete, without a token that says so."""
        ...

    def fill_mask(self, mask: npt.NDArray[np.uint32]) -> None:
        """Set `mask`, [ceil(vocabulary / 32)]: bit i of word j where token 32 * j + i may come next."""
        ...

    def forced(self) -> list[int]:
        """The tokens that must come next, as the model would have split their text; often none."""
        ...

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        """How many of these tokens, in order, may come next."""
        ...

    def accept(self, token_ids: Sequence[int]) -> None:
        """Go on over these tokens, which were allowed."""
        ...

    def rollback(self, num_tokens: int) -> None:
        """Take back the last accepted tokens."""
        ...


StartGuide: TypeAlias = Callable[[], Guide]  # makes the guide of one sequence, at its beginning
