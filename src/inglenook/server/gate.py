"""The outermost layer of the app: tidies the path, checks the key, names the request, catches what nobody foresaw."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inglenook.errors import AuthenticationError
from inglenook.server.answer import ClientGoneError
from inglenook.server.auth import OPEN_PATHS, check_key
from inglenook.server.cors import cors_headers
from inglenook.server.errors import REQUEST_ID, error_response, unexpected
from inglenook.server.paths import asked_path, tidy

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")  # printable ASCII: it is written to the log and into a header
_ALLOWED = "GET, POST, DELETE, OPTIONS"


class Gate:
    def __init__(self, app: ASGIApp, api_keys: Sequence[str], allowed_origins: Sequence[str] = ()) -> None:
        self._app = app
        self._api_keys = api_keys
        self._allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope = {**scope, **tidy(scope), REQUEST_ID: request_id.decode()}
        added = [(b"x-request-id", request_id), (b"request-id", request_id)]  # the second one is Anthropic's
        added += cors_headers(scope["headers"], self._allowed_origins, is_preflight=scope["method"] == "OPTIONS")
        status: int | None = None
        start_s = time.perf_counter()

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            response = self._answer_here(scope)
            await (response or self._app)(scope, receive, send_named)
        except ClientGoneError:
            status = status or 499  # for the log only, after nginx
        except Exception:
            _log.exception("Request %s failed.", scope[REQUEST_ID])
            if status is not None:
                raise  # the answer has begun: all that is left is to break the connection off
            await error_response(unexpected(scope), scope)(scope, receive, send_named)
        finally:
            elapsed_ms = (time.perf_counter() - start_s) * 1e3
            call = scope[REQUEST_ID], scope["method"], asked_path(scope)
            _log.debug("%s %s %r: %s, %.1f ms", *call, status, elapsed_ms)

    def _answer_here(self, scope: dict[str, Any]) -> Response | None:
        """A preflight passes without a key, as browsers send none."""
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers={"allow": _ALLOWED})
        if self._api_keys and scope["path"] not in OPEN_PATHS:
            try:
                check_key(scope["headers"], self._api_keys)
            except AuthenticationError as error:
                return error_response(error, scope)
        return None


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
