"""Routes of OpenAI's for which there is no model here: 501 with what to do, so that nobody takes it for a wrong URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.openai.wire import ErrorBody
from inglenook.errors import NotServedError
from inglenook.server.api_route import ApiRoute, Operation

_IMAGES = "makes no images: it serves language models. Send this request to a server that does"
_AUDIO = "neither hears nor speaks: it serves language models. Send this request to a server that does"
_MODERATION = (
    "has no moderation model. Ask a chat model to judge the text (with response_format its answer is JSON), or send "
    "this request to a server that has one"
)
_REASONS = {
    "/moderations": _MODERATION,
    "/images/generations": _IMAGES,
    "/images/edits": _IMAGES,
    "/images/variations": _IMAGES,
    "/audio/transcriptions": _AUDIO,
    "/audio/translations": _AUDIO,
    "/audio/speech": _AUDIO,
}


def _refusal(path: str, reason: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        raise NotServedError(f"{path} isn't answered here: this server {reason}.")

    refuse.__name__ = "refuse" + path.replace("/", "_")  # the route's name
    return refuse


_OPERATION = Operation("Not answered by this server.", ErrorBody, status=501)
ROUTES = [ApiRoute("POST", path, _refusal(path, reason), _OPERATION) for path, reason in _REASONS.items()]
