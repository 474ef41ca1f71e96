"""Health, version, metrics, and the document of all routes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from inglenook.errors import UnavailableError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.metrics import CONTENT_TYPE, metrics_text
from inglenook.server.openapi import openapi_document
from inglenook.server.state import state_of


class Health(msgspec.Struct):
    status: Literal["ok"]


class Version(msgspec.Struct):
    version: str


async def health(request: Request) -> Response:
    router = state_of(request).router
    failed = router.failed()
    if failed:
        others = [served.name for served in router.served if served.name not in failed]
        still = f" Requests for {', '.join(others)} are answered." if others and router.is_accepting else ""
        raise UnavailableError(f"The engine of {', '.join(failed)} has failed; the server's log says more.{still}")
    if not router.is_healthy():
        raise UnavailableError("The server is stopping, or it has no model.")
    return Response(msgspec.json.encode(Health("ok")), media_type="application/json")


async def version(request: Request) -> Response:
    return Response(msgspec.json.encode(Version(state_of(request).version)), media_type="application/json")


async def metrics(request: Request) -> Response:
    return Response(metrics_text(state_of(request).router), headers={"content-type": CONTENT_TYPE})


async def openapi(request: Request) -> Response:
    document = openapi_document(request.app.routes, version=state_of(request).version)
    return Response(msgspec.json.encode(document), media_type="application/json")


def _operation(summary: str, answer: Any, content_type: str = "application/json") -> Operation:
    return Operation(summary, answer, content_type=content_type, is_versioned=False)


ROUTES = [
    ApiRoute("GET", "/health", health, _operation("Whether requests are answered.", Health)),
    ApiRoute("GET", "/version", version, _operation("This program's version.", Version)),
    ApiRoute("GET", "/metrics", metrics, _operation("Counters for Prometheus.", None, "text/plain")),
    ApiRoute("GET", "/openapi.json", openapi, _operation("This document.", dict[str, Any])),
]
