"""Bodies that were compressed on their way: inflated no further than the limit."""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable
from typing import Any

from inglenook.errors import InvalidRequestError

Inflater = Callable[[bytes, int], bytes | None]

_GZIP, _RAW = 31, -15  # zlib's window bits
_ZSTD_WINDOW_LOG = 23


def inflater_of(encoding: str) -> Inflater | None:
    """What reads bodies of this content-encoding: from the body and the limit to the bytes, None where they are more.

    None where nothing does. An inflater raises InvalidRequestError for a damaged body.
    """
    if encoding in ("gzip", "x-gzip"):
        return _gzip
    if encoding == "deflate":
        return _deflate
    return _zstd if encoding == "zstd" else None


def _gzip(body: bytes, max_bytes: int) -> bytes | None:
    return _members(lambda: zlib.decompressobj(_GZIP), body, max_bytes, "gzip", zlib.error)


def _deflate(body: bytes, max_bytes: int) -> bytes | None:
    """zlib's format (RFC 9110); many clients send it without its header."""
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _members(lambda: zlib.decompressobj(15 if is_zlib else _RAW), body, max_bytes, "deflate", zlib.error)


def _zstd(body: bytes, max_bytes: int) -> bytes | None:
    """Frames may ask for a window of up to 8 MB, as HTTP's have to do with (RFC 9659)."""
    zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return _members(lambda: zstd.ZstdDecompressor(options=options), body, max_bytes, "zstd", zstd.ZstdError)


def _members(
    make: Callable[[], Any], body: bytes, max_bytes: int, encoding: str, damage: type[Exception]
) -> bytes | None:
    """One member after another, as all formats may have several."""
    pieces: list[bytes] = []
    room = max_bytes
    while body:
        member = make()
        try:
            piece = member.decompress(body, room + 1)
        except damage as error:
            raise InvalidRequestError(f"The body is not sound {encoding}.", param="content-encoding") from error
        if len(piece) > room:
            return None
        if not member.eof:
            raise InvalidRequestError(f"The body's {encoding} breaks off before its end.", param="content-encoding")
        pieces.append(piece)
        room -= len(piece)
        body = member.unused_data
    return b"".join(pieces)
