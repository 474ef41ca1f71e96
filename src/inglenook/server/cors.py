"""Web pages of other origins (Fetch standard, section 3.2): only those that the settings name are let in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Headers = list[tuple[bytes, bytes]]

_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: *, *[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")  # header names
_MAX_CHARS = 1000
_MAX_AGE_S = 600  # for which a browser may remember a preflight's answer
_EXPOSED = b"x-request-id, x-inglenook-warnings, retry-after"


def cors_headers(headers: Iterable[tuple[bytes, bytes]], allowed: Sequence[str], *, is_preflight: bool) -> Headers:
    """What is added to an answer. A page that isn't allowed gets nothing: its browser keeps the answer from it."""
    if not allowed:
        return []
    given = dict(headers)
    origin = given.get(b"origin")
    added: Headers = [(b"vary", b"origin")]
    if origin is None or not ("*" in allowed or origin.decode("latin-1") in allowed):
        return added
    added.append((b"access-control-allow-origin", origin))
    if not is_preflight:
        return [*added, (b"access-control-expose-headers", _EXPOSED)]
    added += [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-max-age", b"%d" % _MAX_AGE_S),
    ]
    wanted = given.get(b"access-control-request-headers", b"").strip()
    if len(wanted) <= _MAX_CHARS and _NAMES.fullmatch(wanted):  # a * wouldn't stand for authorization
        added.append((b"access-control-allow-headers", wanted))
    return added
