"""Reading a request's body within limits of size and patience."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from inglenook.backends.off_loop import on_thread
from inglenook.errors import InglenookError, InvalidRequestError, PayloadTooLargeError
from inglenook.server.answer import ClientGoneError
from inglenook.server.inflate import inflater_of
from inglenook.server.state import state_of

READ_BODY = "inglenook.read_body"  # key in the ASGI scope: a body that a route has looked into and hands on
IDLE_TIMEOUT_S = 60.0  # between two pieces of a body


class BodyTimeoutError(InglenookError):
    """The client stopped sending in the middle of its request."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


async def read_body(request: Request) -> bytes:
    """The whole body, inflated. Raises PayloadTooLargeError as soon as it is clear that it is larger than allowed.

    Also raises InvalidRequestError where it can't be inflated, BodyTimeoutError, and ClientGoneError where the client
    hangs up in the middle of it.
    """
    if READ_BODY in request.scope:
        return bytes(request.scope[READ_BODY])
    max_bytes = state_of(request).settings.max_body_mib * 2**20
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    inflate = inflater_of(encoding)
    if inflate is None and encoding not in ("identity", ""):
        raise InvalidRequestError(
            f"A body with content-encoding {encoding[:40]!r} can't be read: send gzip, deflate, zstd, or it plain.",
            param="content-encoding",
        )
    body = await _receive_body(request, max_bytes)
    if inflate is None:
        return body
    inflated = await on_thread(lambda: inflate(body, max_bytes))
    if inflated is None:
        raise _too_large(max_bytes)
    return inflated


async def _receive_body(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes)
    pieces: list[bytes] = []
    num_bytes = 0
    while True:
        try:
            message = await asyncio.wait_for(request.receive(), IDLE_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise BodyTimeoutError(f"The request's body didn't go on for {IDLE_TIMEOUT_S:.0f} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise _too_large(max_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The request's body is larger than {max_bytes / 2**20:g} MiB, this server's limit.")
