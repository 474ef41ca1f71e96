"""Thinking as `encrypted_content`, for clients that keep no other part of it between turns.

It is base64 of our own text, and no secret: the same thinking stands readable in the item's `content`.
"""

from __future__ import annotations

import base64
import binascii

from inglenook.errors import UnsupportedParameterError

_MARK = "inglenook:"


def sealed(thinking: str) -> str:
    return _MARK + base64.b64encode(thinking.encode()).decode()


def opened(text: str, where: str) -> str:
    """Raises UnsupportedParameterError for what another server sealed."""
    try:
        if text.startswith(_MARK):
            return base64.b64decode(text[len(_MARK) :], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise UnsupportedParameterError(
        f"{where} wasn't written by this server, which can't read it. Leave the reasoning item out.", param=where
    )
