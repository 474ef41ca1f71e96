"""Work that may take long, kept off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

# Prompts of more characters are rendered and tokenised on another thread, and every grammar is compiled there, so that
# other streams go on meanwhile.
INLINE_CHARACTERS = 8192

T = TypeVar("T")


async def inline_or_thread(is_long: bool, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if is_long else work()
