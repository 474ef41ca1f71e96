"""Health, version and metrics."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inglenook.errors import UnavailableError
from inglenook.server.metrics import CONTENT_TYPE, metrics_text
from inglenook.server.state import state_of


async def health(request: Request) -> Response:
    if not state_of(request).router.is_healthy():
        raise UnavailableError("The server is not ready: it is starting or stopping, or its engine has failed.")
    return Response(b'{"status":"ok"}', media_type="application/json")


async def version(request: Request) -> Response:
    return Response(msgspec.json.encode({"version": state_of(request).version}), media_type="application/json")


async def metrics(request: Request) -> Response:
    return Response(metrics_text(state_of(request).router), headers={"content-type": CONTENT_TYPE})


ROUTES = [
    Route("/health", health, methods=["GET"]),
    Route("/version", version, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
]
