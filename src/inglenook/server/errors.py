"""Exceptions -> HTTP responses in OpenAI's error shape. Nothing of the server's inside gets out."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from inglenook.dialects.openai import error_body
from inglenook.errors import (
    AuthenticationError,
    InglenookError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)

REQUEST_ID = "inglenook.request_id"  # key in the ASGI scope


def unexpected(scope: Scope) -> InglenookError:
    """What the client is told of an exception that nobody foresaw; the log has the rest under the same id."""
    return InglenookError(
        f"The server failed on this request. Its log has the reason under request id {scope.get(REQUEST_ID, '-')}."
    )


def error_response(error: InglenookError) -> Response:
    headers = {}
    if isinstance(error, AuthenticationError):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, (OverloadedError, UnavailableError)):
        headers["retry-after"] = "1"
    if error.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is still on its way, and unwanted
    return Response(error_body(error), error.status, headers, "application/json")


async def on_inglenook_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, InglenookError)
    return error_response(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: no route for a path, or not for this method."""
    assert isinstance(error, HTTPException)
    path, method = request.url.path[:100], request.method
    if error.status_code == 404:
        return error_response(NotFoundError(f"There is nothing at {path}."))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = error_response(MethodNotAllowedError(f"{path} takes {allowed}, not {method}."))
        response.headers["allow"] = allowed
        return response
    failure = InglenookError(error.detail)
    failure.status = error.status_code
    return error_response(failure)
