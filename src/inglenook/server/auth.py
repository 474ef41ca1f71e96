"""API keys: `Authorization: Bearer KEY`, or `x-api-key: KEY` as Anthropic's clients send it, `api-key` as Azure's."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from inglenook.errors import AuthenticationError

OPEN_PATHS = frozenset({"/health", "/ping"})


def check_key(headers: Iterable[tuple[bytes, bytes]], keys: Sequence[str]) -> None:
    """Raise AuthenticationError unless the headers hold one of the keys.

    Every key is compared in full, in constant time, so that the answer's time tells nothing of how near a guess was.
    """
    given = _given_key(headers)
    if given is None:
        raise AuthenticationError("An API key is needed: send it as 'Authorization: Bearer KEY' or as 'x-api-key'.")
    is_known = False
    for key in keys:
        is_known |= hmac.compare_digest(given, key.encode())
    if not is_known:
        raise AuthenticationError("The API key isn't one of this server's.")


def owner_of(headers: Iterable[tuple[bytes, bytes]], keys: Sequence[str]) -> str:
    """Whose what a request keeps is: a name made of its key, which can't be found out from it.

    Everybody's is "" where the server has no keys, whatever clients send.
    """
    given = _given_key(headers) if keys else None
    return "" if given is None else hashlib.sha256(b"inglenook:" + given).hexdigest()


def _given_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    given = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer" and token.strip():
                return token.strip()
        elif name in (b"x-api-key", b"api-key"):
            given = value.strip()
    return given
