"""Exceptions -> HTTP responses, shaped as the asked dialect has errors. Nothing of the server's inside gets out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from inglenook.dialects.anthropic import answers as anthropic
from inglenook.dialects.huggingface import answers as huggingface
from inglenook.dialects.llama_cpp import answers as llama_cpp
from inglenook.dialects.ollama import answers as ollama
from inglenook.dialects.openai.answers import error_body
from inglenook.dialects.pooling import cohere, tei
from inglenook.errors import (
    AuthenticationError,
    InglenookError,
    MethodNotAllowedError,
    NotFoundError,
    NotServedError,
    OverloadedError,
    UnavailableError,
)
from inglenook.server.paths import asked_path

REQUEST_ID = "inglenook.request_id"  # key in the ASGI scope

ErrorShape = Callable[[InglenookError, str], tuple[int, bytes]]  # error, request id -> status, body
# By the first word of the path, alone or behind a method; OpenAI's where it isn't here.
_SHAPES: Mapping[str, ErrorShape] = {
    "POST ": huggingface.error_shape,
    "POST models": huggingface.error_shape,
    **dict.fromkeys(("generate", "generate_stream", "info", "pipeline"), huggingface.error_shape),
    **dict.fromkeys(("embed", "embed_all", "predict", "similarity"), tei.error_shape),
    "v2": cohere.error_shape,
    **dict.fromkeys(("completion", "infill", "props", "slots", "lora-adapters"), llama_cpp.error_shape),
    "messages": anthropic.error_body,
    "api": ollama.error_body,
}


def unexpected(scope: Scope) -> InglenookError:
    """What the client is told of an exception that nobody foresaw; the log has the rest under the same id."""
    return InglenookError(
        f"The server failed on this request. Its log has the reason under request id {scope.get(REQUEST_ID, '-')}."
    )


def error_response(error: InglenookError, scope: Scope) -> Response:
    headers = {}
    if isinstance(error, AuthenticationError):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, (OverloadedError, UnavailableError)):
        headers["retry-after"] = "1"
    if isinstance(error, NotServedError):
        headers["x-should-retry"] = "false"  # OpenAI's clients try again after any other 5xx
    if error.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is still on its way, and unwanted
    status, body = _shape(scope)(error, scope.get(REQUEST_ID, "-"))
    return Response(body, status, headers, "application/json")


def _shape(scope: Scope) -> ErrorShape:
    """The path is as gate.py has tidied it."""
    word = scope["path"].lstrip("/").partition("/")[0]
    return _SHAPES.get(f"{scope['method']} {word}") or _SHAPES.get(word, _openai_shape)


def _openai_shape(error: InglenookError, request_id: str) -> tuple[int, bytes]:
    return error.status, error_body(error)


async def on_inglenook_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, InglenookError)
    return error_response(error, request.scope)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: no route for a path, or not for this method."""
    assert isinstance(error, HTTPException)
    path, method = asked_path(request.scope), request.method
    if error.status_code == 404:
        return error_response(NotFoundError(f"There is nothing at {path}."), request.scope)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = error_response(MethodNotAllowedError(f"{path} takes {allowed}, not {method}."), request.scope)
        response.headers["allow"] = allowed
        return response
    failure = InglenookError(error.detail)
    failure.status = error.status_code
    return error_response(failure, request.scope)
